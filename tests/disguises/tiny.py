"""Three programs that print what they do. Every disguise fits one of them at least."""

from __future__ import annotations

ACCOUNTS = '''
"""Interest on accounts."""
from __future__ import annotations

from collections import OrderedDict

RATE = 0.5
YEARS = 3


class Account:
    bonus = 1

    def __init__(self, owner, money=0):
        self.owner = owner
        self.money = money

    def add(self, money):
        self.money += money
        return self

    def grow(self, rate):
        gain = round(self.money * rate, 2)
        self.add(gain + self.bonus)
        return gain


def interest(account, rate=RATE):
    if account.money < 0:
        return 0
    gain = account.grow(rate=rate)
    return gain


def total(accounts):
    return sum(account.money for account in accounts)


accounts = OrderedDict()
first = Account("ada", money=10)
second = Account(owner="bob", money=-3)
accounts.update({first.owner: first})
accounts.update({second.owner: second})
best = Account("nobody")
before = dict(when="start", total=total(accounts.values()))
for year in range(YEARS):
    gain = 0
    for account in accounts.values():
        gain = gain + interest(account, rate=RATE)
    print(year, gain, sep=": ")
for name, account in accounts.items():
    if account.money > best.money:
        best = account
    print(name, account.money, sep="=", end="!\\n")
print(sorted(accounts, reverse=True), before, best.owner, total(accounts.values()))
'''
WORDS = '''
import collections


def words(text, *, lower=True):
    """The words of a text."""
    text = text.lower() if lower else text
    return text.split()


def count(text):
    table = collections.Counter(words(text, lower=True))
    table.subtract(["the"])
    return table


def main(text, times=2):
    seen = []
    table = count(text)
    for turn in range(times):
        seen.append(turn)
    for word in sorted(table, key=lambda w: (-table[w], w)):
        if word == "sat":
            continue
        print(word, table[word], sep=" x ")
    else:
        print("that is all", seen, flush=True)


if __name__ == "__main__":
    main("The cat sat on the mat and the cat slept", times=3)
'''
NUMBERS = """
import math
from fractions import Fraction

steps = [Fraction(1, n) for n in range(1, 6)]
start = Fraction(numerator=1, denominator=7)
log = []
log.append(start)
limit = max(steps, default=None)
while len(log) < 4:
    log.append(log[-1] * 2)
for step in steps:
    previous = start
    start = start + step
    log.append(start)
print(*log, sep=", ")
print(int(str(14), base=8), math.isclose(start, 2.4, rel_tol=0.5), limit, previous)
with open(__file__, encoding="utf-8") as source:
    print(bool(source.readline()))
"""
TINY = {"accounts": ACCOUNTS, "words": WORDS, "numbers": NUMBERS}
