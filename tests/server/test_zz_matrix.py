import random, shutil, time, pytest
from tests.server.test_coordinator_crashes import *
@pytest.mark.timeout(1200)
def test_mut(quick, monkeypatch):
    t=time.monotonic()
    rec, whole = recorded(quick, monkeypatch, lambda *_: True)
    deaths=list(rec.deaths); random.Random(5).shuffle(deaths)
    print(len(deaths),"deaths")
    done=0
    for d in deaths:
        try: s=resumed(quick,d); assert_as_if_nothing_had_happened(quick,s,whole,d.tap); done+=1
        except BaseException as e: print("BAD",d.step,repr(e)[:300])
        shutil.rmtree(d.run_dir.parent)
        if time.monotonic()-t>520: break
    print("OK",done)
