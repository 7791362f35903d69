"""`mtcp train`: what it says of a run that is trained already."""

from mtcp.cli.train import train_planned


def test_a_trained_run_is_not_said_to_be_trained_now(small, capsys):
    run = small.plan.run("rooms", "mtcp", 0)
    train_planned(small.plan, run, "cpu", lambda: False)
    said = capsys.readouterr()
    assert said.out == f"{run.name}: was trained already: finished after 3 epochs, 21.5 s\n"
    assert said.err == ""
