"""Requirements without ClassAds: `key OP value` joined by `&&`; a preference is one key's number."""

import operator
import re

_OPS = {
    "==": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le,
    ">": operator.gt, "<": operator.lt,
}  # fmt: skip


class WordMatcher:
    """A `Matcher` that counts how often it was asked."""

    def __init__(self):
        self.asked = 0

    def check(self, text):
        known = all(_PART.fullmatch(p.strip()) for p in text.split("&&")) or text.isalnum()
        return "" if known else "not so"

    def suits(self, job_ad, req, ad):
        self.asked += 1
        return not self.explain(job_ad, req, ad)

    def rank(self, job_ad, rank, ad):
        return float(ad.get(rank, 0))

    def explain(self, job_ad, req, ad):
        return [(p.strip(), ad.get(_key(p))) for p in req.split("&&") if not _true(p, ad)]


_PART = re.compile(r"\s*(\w+)\s*(==|!=|>=|<=|>|<)\s*(\S+)\s*")


def _key(part):
    return _PART.fullmatch(part).group(1)


def _true(part, ad):
    key, op, value = _PART.fullmatch(part).groups()
    if key not in ad:
        return False
    have = ad[key]
    return _OPS[op](have, type(have)(value))
