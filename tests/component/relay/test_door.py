"""The door with real sockets: who is let in, who meets whom, what is copied."""





def test_a_client_and_an_agent_meet(relay):
    agent, client = relay.agent(spares=1), relay.client()
    visit = client.come(att="a" * 32)
    expect = agent.control.get("expect")
    assert (expect["att"], expect["op"], expect["rights"]) == ("a" * 32, "open", "rw")
    assert relay.read(agent.spares[0]) == b"HELLO"
    agent.spares[0].send(b"from the agent")
    assert relay.read(visit) == b"from the agent"
    visit.send(b"from the client")
    assert relay.read(agent.spares[0]) == b"from the client"
    agent.spares[0].close()
    assert relay.ended(visit) == b""
