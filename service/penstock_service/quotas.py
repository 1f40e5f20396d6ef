"""What each tenant may take by its own quota: tokens a minute, and calls at a time. Pure: time comes in.

A call's tokens are known when it has ended. So a tenant may begin calls while its balance is positive, of which those
that run have taken what their prompts are likely to have; it goes into debt with what they turn out to have taken, and
one minute's tokens are the most that it can save.

Calls that only read a prompt have a count of their own with the same limit: asking what a call would need must not be
why that call is refused.
"""

from datetime import timedelta
from typing import NamedTuple

from penstock_service.errors import QuotaExceeded
from penstock_service.tenant import Tenant

_MOST_TENANTS = 4096
# For a place among its own calls, of which nobody knows when they end.
_CALL_ENDS_IN = timedelta(seconds=1)


class Account:
    """One tenant's."""

    __slots__ = ("at", "balance", "calls", "readings")

    def __init__(self, balance: float, now: float) -> None:
        self.balance = balance
        self.at = now
        self.calls = 0
        self.readings = 0  # calls that only read a prompt


class Counted(NamedTuple):
    """A call that counts while it runs."""

    account: Account
    tokens: int  # taken until it is known what the call takes
    reads: bool = False


class Quotas:
    """The accounts of the tenants that have quotas."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def refusal(self, tenant: Tenant, now: float, reads: bool = False) -> QuotaExceeded | None:
        """Why the tenant may begin no call now; None if it may. `reads`: one that only reads a prompt."""
        account = self._accounts.get(tenant.name)
        if account is None:
            return None
        most = tenant.max_concurrent_calls
        running = account.readings if reads else account.calls
        if most is not None and running >= most:
            return QuotaExceeded(f"max_concurrent_calls: {running} calls run, of {most} at most", _CALL_ENDS_IN)
        rate = tenant.tokens_per_minute
        if rate is None or (balance := _balance(account, rate, now)) > 0:
            return None
        wait = timedelta(minutes=(1 - balance) / rate)
        return QuotaExceeded(f"tokens_per_minute: of {rate} the balance is {balance:.0f}", wait)

    def begin(self, tenant: Tenant, now: float, tokens: int = 0, reads: bool = False) -> Counted | None:
        """Count a call in, whose prompts have about so many tokens; None for one that does not count.

        Raises QuotaExceeded.
        """
        if tenant.tokens_per_minute is None and tenant.max_concurrent_calls is None:
            return None
        if (refusal := self.refusal(tenant, now, reads)) is not None:
            raise refusal
        account = self._account(tenant, now)
        if reads:
            account.readings += 1
        else:
            account.calls += 1
        if tenant.tokens_per_minute is None:
            tokens = 0
        self.charge(tenant, tokens, now)
        return Counted(account, tokens, reads)

    def end(self, counted: Counted | None) -> None:
        """Count a call out: where `begin` counted it, for the tenant may have got or lost its quota meanwhile.

        What it has turned out to take is charged by itself.
        """
        if counted is None:
            return
        account = counted.account
        account.balance += counted.tokens
        if counted.reads:
            account.readings -= 1
        else:
            account.calls -= 1

    def charge(self, tenant: Tenant, tokens: int, now: float) -> None:
        """Take what a call has turned out to take."""
        if (rate := tenant.tokens_per_minute) is None:
            return
        account = self._account(tenant, now)
        account.balance, account.at = _balance(account, rate, now) - tokens, now

    def _account(self, tenant: Tenant, now: float) -> Account:
        if (account := self._accounts.get(tenant.name)) is None:
            if len(self._accounts) >= _MOST_TENANTS:
                self._forget_one()
            account = self._accounts[tenant.name] = Account(float(tenant.tokens_per_minute or 0), now)
        return account

    def _forget_one(self) -> None:
        """Forget who has called least lately, of those without a call if there are some."""
        del self._accounts[min(self._accounts, key=lambda name: _worth(self._accounts[name]))]


def _worth(account: Account) -> tuple[int, float]:
    return account.calls + account.readings, account.at


def _balance(account: Account, rate: int, now: float) -> float:
    return min(account.balance + rate / 60 * max(now - account.at, 0), rate)
