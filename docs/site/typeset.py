"""Typesets the formulas of docstrings as MathML, which browsers draw by themselves."""

import re
from html import escape

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "eta": "η",
    "mu": "μ",
    "nu": "ν",
    "pi": "π",
}
SIGNS = {"<=": "≤", ">=": "≥", "->": "→", "...": "…", "-": "−", "`": ""}
TOKEN = re.compile(
    r"\s+|(?P<number>\d+\.?\d*(?:e-?\d+)?|\.\d+)|(?P<name>[A-Za-z][A-Za-z_0-9]*)"
    r"|(?P<sign>\*\*|<=|>=|->|\.\.\.|.)"
)
CONDITION = re.compile(r"^((?:for|from|in|after)\b[^:]*):\s+(.*)$")
TAIL = re.compile(r"^(.*?\S)\s{2,}((?:for|after|if|from)\b.*)$")
# Words of a sentence in a formula: set as text, and never the name of a function.
WORDS = re.compile(
    "after|and|at|before|but|by|every|for|from|goes|has|if|in|instead|is|it|least|no|of"
    "|on|or|over|so|than|that|the|then|to|until|when|where|which|while|with|without"
)
RELATIONS = ("=", "<", ">", "<=", ">=", ",", ";", ":", "->", "...")


def typeset(formula: str) -> str:
    """A paragraph of formulas, one a line, as one block of MathML."""
    rows = [_row(line) for line in _joined(formula.splitlines())]
    body = "".join(f"<mtr><mtd>{row}</mtd></mtr>" for row in rows)
    return (
        f'<div class="formula"><math display="block"><mtable displaystyle="true">{body}'
        "</mtable></math></div>"
    )


def _joined(lines: list[str]) -> list[str]:
    """The lines, with those that go on in the next one, as open brackets tell."""
    joined: list[str] = []
    for line in lines:
        goes_on = joined and (
            joined[-1].count("(") > joined[-1].count(")")
            or re.match(r"\s*[-+*/] ", line)
        )
        if goes_on:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _row(line: str) -> str:
    indent = '<mspace width="2em"/>' if line.startswith(" ") else ""
    line = line.strip()
    before = after = ""
    if found := CONDITION.match(line):
        before, line = _text(found[1] + ":") + '<mspace width="1em"/>', found[2]
    if found := TAIL.match(line):
        line, after = found[1], '<mspace width="1.5em"/>' + _text(found[2])
    try:
        return indent + before + _Parser(line).statement() + after
    except (IndexError, SyntaxError):
        return indent + before + _text(line) + after


def _text(words: str) -> str:
    for sign in ("<=", ">="):
        words = words.replace(sign, SIGNS[sign])
    return f"<mtext>{escape(words)}</mtext>"


class _Parser:
    """Sums of products of powers; two factors side by side are a product, too."""

    def __init__(self, line: str) -> None:
        found = TOKEN.finditer(line)
        self.tokens = [(m.lastgroup, m.group()) for m in found if m.lastgroup]
        self.at = 0
        self.in_bars = False  # where a bar closes an absolute value
        self.flat = False  # in an exponent, where a fraction would be too small

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> tuple[str, str]:
        token = self.tokens[self.at]
        if wanted and token[1] != wanted:
            raise SyntaxError(wanted)
        self.at += 1
        return token

    def statement(self, until: str = "") -> str:
        """Expressions with relations and commas between them."""
        parts = []
        while self.peek() != until:
            if self.peek() in RELATIONS or self.peek() == ".":
                parts.append(_operator(self.take()[1]))
            else:
                parts.append(self.sum())
        return "".join(parts)

    def sum(self) -> str:
        parts = []
        if self.peek() in ("-", "+"):
            parts.append(_operator(self.take()[1]))
        parts.append(self.product())
        while self.peek() in ("+", "-") and self.peek():
            parts.append(_operator(self.take()[1]))
            if self.peek() not in RELATIONS:  # as in "a + b + ..."
                parts.append(self.product())
        return "".join(parts)

    def product(self) -> str:
        done = self.power()
        while True:
            sign = self.peek()
            if sign == "*":
                self.take()
                if self.peek() in RELATIONS:
                    return done + _operator("·")
                done += _operator("·") + self.power()
            elif sign == "/":
                self.take()
                if self.flat:
                    done += _operator("/") + self.power()
                    continue
                below = self.power(bare=True)
                done = f"<mfrac><mrow>{_bare(done)}</mrow><mrow>{below}</mrow></mfrac>"
            elif self.starts_a_factor():
                done += '<mspace width="0.25em"/>' + self.power()
            else:
                return done

    def starts_a_factor(self) -> bool:
        return self.at < len(self.tokens) and (
            self.tokens[self.at][0] in ("number", "name")
            or self.peek() in "([`'"
            or (self.peek() == "|" and not self.in_bars)
        )

    def power(self, bare: bool = False) -> str:
        base = self.atom()
        if self.peek() == "**":
            self.take()
            sign = _operator(self.take()[1]) if self.peek() == "-" else ""
            outside, self.flat = self.flat, True
            above = sign + _bare(self.power())
            self.flat = outside
            return f"<msup><mrow>{base}</mrow><mrow>{above}</mrow></msup>"
        return _bare(base) if bare else base

    def atom(self) -> str:
        kind, token = self.take()
        if kind == "number":
            return f"<mn>{token}</mn>"
        if kind == "name":
            return self.called(token)
        if token == "(":
            return _brackets("(", self.inside(")"), ")")
        if token == "[":
            return _brackets("[", self.inside("]"), "]")
        if token == "|" and not self.in_bars:
            self.in_bars = True
            content = self.inside("|")
            self.in_bars = False
            return _brackets("|", content, "|")
        if token in ("`", "'"):
            return ""
        raise SyntaxError(token)

    def inside(self, end: str) -> str:
        content = self.statement(until=end)
        self.take(end)
        return content

    def called(self, name: str) -> str:
        if name == "sqrt" and self.peek() == "(":
            self.take()
            return _root(self.inside(")"))
        if WORDS.fullmatch(name):
            return f"<mtext>{name}</mtext>"
        if name.startswith("sum_"):
            return f"<munder><mo>∑</mo><mi>{name.removeprefix('sum_')}</mi></munder>"
        done = _name(name)
        if name.endswith("_") and self.peek() == "(":  # eta_(k-1)
            self.take()
            return f"<msub>{_name(name[:-1])}<mrow>{self.inside(')')}</mrow></msub>"
        while self.peek() == "[":
            self.take()
            done = f"<msub>{done}<mrow>{self.inside(']')}</mrow></msub>"
        if self.peek() == "(" and name not in GREEK and not _is_factor(name):
            self.take()
            done += _brackets("(", self.inside(")"), ")")
        return done


def _is_factor(name: str) -> bool:
    """Whether a bracket behind this name is a factor and not an argument."""
    return len(name) == 1 and name not in "fLSvdcs"


def _root(content: str) -> str:
    """A root; as a power where it would have to grow, which few fonts can."""
    if "<mfrac>" not in content:
        return f"<msqrt>{content}</msqrt>"
    base = _brackets("(", content, ")")
    return f"<msup>{base}<mrow><mn>1</mn><mo>/</mo><mn>2</mn></mrow></msup>"


def _brackets(left: str, content: str, right: str) -> str:
    return f'<mrow class="b"><mo>{left}</mo>{content}<mo>{right}</mo></mrow>'


def _bare(content: str) -> str:
    """Without the brackets around all of it, which a fraction does not need."""
    found = re.fullmatch(r'<mrow class="b"><mo>\(</mo>(.*)<mo>\)</mo></mrow>', content)
    if not found or found[1].count('<mrow class="b"><mo>(</mo>') != found[1].count(
        "<mo>)</mo></mrow>"
    ):
        return content
    depth = 0  # brackets that close before the end are two pairs, side by side
    for bracket in re.findall(r"<mo>([()])</mo>", found[1]):
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            return content
    return found[1]


def _operator(sign: str) -> str:
    return f"<mo>{escape(SIGNS.get(sign, sign))}</mo>"


def _name(name: str) -> str:
    if name.endswith("_hat"):
        return f"<mover>{_name(name.removesuffix('_hat'))}<mo>^</mo></mover>"
    head, _, low = name.partition("_")
    if low and len(low) <= (2 if len(head) == 1 or head in GREEK else 1):
        below = _name(low) if low[0].isalpha() else f"<mn>{low}</mn>"
        return f"<msub>{_name(head)}{below}</msub>"
    if re.fullmatch(r"[A-Za-z]\d", name):
        return f"<msub><mi>{name[0]}</mi><mn>{name[1]}</mn></msub>"
    return f"<mi>{GREEK.get(name, name)}</mi>"
