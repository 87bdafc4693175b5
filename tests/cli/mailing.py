"""Mail on the frozen morning: short ways to send some and to name it."""


def sent(mail, minute=1, by="agent:ada", to="bo", body="hello", *words):
    """The id of a new message."""
    answer = mail(minute, by, "send", "--to", to, "--body", body, "--quiet", *words)
    assert answer.code == 0, answer.err
    return answer.out.strip()


def ids(answer):
    """The messages that a command printed."""
    return [row["message_id"] for row in answer.lines]
