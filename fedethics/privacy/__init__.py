"""Budget, accountant, calibration, noise and ledger: what makes an epsilon true."""
