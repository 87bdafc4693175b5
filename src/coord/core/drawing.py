"""What graphs of all tools are drawn with: texts that stand safely in Graphviz and Mermaid."""


def printable(text: str) -> str:
    """A text without what would end a line or turn it around."""
    return "".join(char if char.isprintable() else " " for char in text)


def short(text: str, chars: int) -> str:
    """A text that fits, printable."""
    return printable(text if len(text) <= chars else text[: chars - 1] + "…")


def dot(text: str) -> str:
    """A text in Graphviz's language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'


def mermaid(text: str) -> str:
    """Letters and what Mermaid cannot take for syntax; the rest by its number."""
    safe = " .,:_-/()!?'+*=…"
    return "".join(c if c.isalnum() or c in safe else f"#{ord(c)};" for c in printable(text))
