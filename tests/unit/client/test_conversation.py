"""What a conversation hands on when its link breaks."""

from types import SimpleNamespace

from gshell.client.conversation import Conversation
from gshell.wire.peer import Greeted, Peer, StreamData
from gshell.wire.streams import SendBuffer

STDOUT, STDERR = 3, 4


class Breaking:
    """An owner whose answer to the first bytes finds the link broken."""

    def __init__(self) -> None:
        self.link = SimpleNamespace(closed=False, room=False)
        self.came: list[bytes] = []

    def on_event(self, talk: Conversation, event: object) -> None:
        assert isinstance(event, StreamData)
        self.came.append(event.data)
        self.link.closed = True

    def __getattr__(self, name: str):
        return lambda *_: None


def test_what_came_is_handed_on_though_the_link_breaks_over_the_answer_to_its_first_part():
    owner = Breaking()
    loop = SimpleNamespace(clock=lambda: 0.0)
    ticket = SimpleNamespace(user="alice")
    talk = Conversation(SimpleNamespace(ticket=ticket, loop=loop), owner, {"op": "open"}, {})
    agent = Peer(client=False)
    sources = {stream: SendBuffer() for stream in (STDOUT, STDERR)}
    for stream, source in sources.items():
        talk.peer.add_recv(stream, 1000)
        agent.add_send(stream, source, 1000)
    talk.peer.link_up({"op": "open"}, early_data=False)
    (greeted,) = agent.receive(b"".join(talk.peer.pull(1 << 20)))
    assert isinstance(greeted, Greeted)
    agent.link_up({"job": "42"})
    agent.adopt(greeted.message)
    talk.link_data(owner.link, agent.pull(1 << 20))
    assert not owner.came
    for stream, source in sources.items():
        source.append(b"part %d" % stream)
    talk.link_data(owner.link, [b"".join(agent.pull(1 << 20))])
    assert sorted(owner.came) == [b"part 3", b"part 4"]  # both count as arrived
