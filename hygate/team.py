"""The people who run the site: added, given a role, switched off, given a new password. Every step is audited.

There is always an active administrator: whoever would be the last one to lose the role, or the login, keeps it.
"""

from __future__ import annotations

import secrets

from allauth.mfa.models import Authenticator
from django.db import transaction

from hygate import audit
from hygate.accounts import temporary_password
from hygate.models import Role, User

PASSWORD_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - letters to make one from: no i, l, o, 0 or 1
PASSWORD_GROUPS, GROUP_LENGTH = 4, 4


class NotAllowed(Exception):
    """Something that no administrator may do either; the message is a sentence for him."""


def add_person(*, email: str, name: str, role: str, by: User) -> tuple[User, str]:
    """A new colleague and the password to hand over: it is not kept, and has to be changed at the first login."""
    password = new_password()
    with transaction.atomic():
        user = _added(email=email, name=name, role=role, password=password, by=by)
        temporary_password(user, is_temporary=True)
    return user, password


def invite_person(*, email: str, name: str, role: str, by: User) -> User:
    """A new colleague without a password: the link in the invitation leads to where it is chosen."""
    with transaction.atomic():
        return _added(email=email, name=name, role=role, password=None, by=by)


def invite_again(*, person: User, by: User) -> None:
    """Allow one more mail to somebody who has chosen no password yet; a link that was mailed before stays good."""
    with transaction.atomic():
        _administrators(by)
        fresh = User.objects.get(pk=person.pk)
        if fresh.has_usable_password() or not fresh.is_active:
            raise NotAllowed(f"{person} needs no invitation any more. Nothing was mailed.")
        audit.write("team_invited_again", actor=_actor(by), person=person.pk)


def _added(*, email: str, name: str, role: str, password: str | None, by: User) -> User:
    _administrators(by)
    if User.objects.filter(email__iexact=email).exists():
        raise NotAllowed("Somebody has this address already. Give that person a new password instead.")
    user = User.objects.create_user(email, password, first_name=name, role=Role(role), is_staff=True)
    audit.write("team_added", actor=_actor(by), person=user.pk, role=role)
    return user


def set_role(*, person: User, role: str, by: User) -> None:
    with transaction.atomic():
        others = _administrators(by) - {person.pk}
        if role == Role.OPERATOR and not others:
            raise NotAllowed("This is the last administrator. Make somebody else an administrator first.")
        # a superuser is one in Django's eyes; without the role it would be a power that no page here shows
        lowered = {"is_superuser": False} if role == Role.OPERATOR else {}
        told = audit.change(User.objects.get(pk=person.pk), {"role": role})
        if User.objects.filter(pk=person.pk).exclude(role=role).update(role=Role(role), **lowered):
            audit.write("team_role", actor=_actor(by), person=person.pk, role=role, **told)


def set_active(*, person: User, is_active: bool, by: User) -> None:
    """Switched off, a person is out at once, in every browser; what he did stays his in the audit log."""
    with transaction.atomic():
        others = _administrators(by) - {person.pk}
        if not is_active and not others:
            raise NotAllowed("This is the last administrator. Make somebody else an administrator first.")
        if User.objects.filter(pk=person.pk).exclude(is_active=is_active).update(is_active=is_active):
            audit.write("team_activated" if is_active else "team_deactivated", actor=_actor(by), person=person.pk)


def reset_password(*, person: User, by: User) -> str:
    """A new password to hand over; the old one and every login made with it end here."""
    password = new_password()
    with transaction.atomic():
        _administrators(by)
        fresh = User.objects.select_for_update().get(pk=person.pk)
        fresh.set_password(password)
        fresh.save(update_fields=["password"])
        temporary_password(fresh, is_temporary=True)
        audit.write("team_password_reset", actor=_actor(by), person=person.pk)
    return password


def remove_second_factor(*, person: User, by: User) -> bool:
    """For a lost phone. Answers whether there was one."""
    with transaction.atomic():
        _administrators(by)
        removed, _ = Authenticator.objects.filter(user=person).delete()
        if removed:
            audit.write("team_second_factor_removed", actor=_actor(by), person=person.pk)
    return bool(removed)


def _administrators(by: User) -> set[int]:
    """The active administrators, locked, so that no two of them take each other's role at once; ``by`` is one still."""
    rows = User.objects.select_for_update().filter(role=Role.ADMINISTRATOR, is_active=True).order_by("pk")
    found = set(rows.values_list("pk", flat=True))
    if by.pk not in found:
        raise NotAllowed("You are no administrator any more. Nothing was changed.")
    return found


def new_password() -> str:
    """Easy to read out: four groups of four, 79 bits."""
    groups = ("".join(secrets.choice(PASSWORD_ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(PASSWORD_GROUPS))
    return "-".join(groups)


def _actor(user: User) -> str:
    return f"user:{user.pk}"
