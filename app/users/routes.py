from contextlib import nullcontext
from typing import Any

from flask import request
from sqlalchemy import delete, select

from app.auth.limits import bad_names_counted, counted_rename, refused_renames
from app.data.base import db
from app.data.errors import unique_or
from app.data.search import Search
from app.data.statements import write
from app.sessions.service import end_sessions
from app.tokens.caller import caller
from app.tokens.cookies import clear_cookies
from app.tokens.guards import admin_required, fresh_admin_required, fresh_login_required, login_required, switched_on
from app.users.models import User, username_key
from app.users.schemas import OwnChangesSchema, UserChangesSchema, UserPageArgs, UserPageSchema, UserSchema
from app.users.service import is_password, keep_an_admin, lock_admins
from app.web.blueprint import Blueprint
from app.web.errors import ApiError, Code, invalid
from app.web.etags import conditional, refuse_mismatch, require_match
from app.web.events import name_hash
from app.web.fields import MessageSchema
from app.web.logs import log_event
from app.web.pages import PAGE_HEADERS, Listing

blp = Blueprint("users", __name__, url_prefix="/api/v1/users", description="Accounts.")

_USER = UserSchema()
_users = User.__table__.c
LISTING = Listing(
    select(*_USER.columns(User)),
    orders={"id": (_users.id,)},
    finders=[Search("q", _users.username_key)],
)


def get_user_or_404(user_id: int) -> User:
    user = db.session.get(User, user_id)
    if user is None:
        raise ApiError(Code.not_found)
    return user


@blp.get("")
@admin_required
@blp.arguments(UserPageArgs, location="query")
@blp.response(200, UserPageSchema, headers=PAGE_HEADERS)
def list_users(args: dict[str, Any]) -> Any:
    """List the users.  Administrators only.

    A page may have fewer rows than `limit`, or none, while `next_cursor` is not null: `q` matches few of the rows
    that were examined.  Go on with `next_cursor`.
    """
    if q := args.pop("q", ""):
        args["q"] = username_key(q)
    page = LISTING.read(args)
    return {"users": page.rows, "next_cursor": page.next_cursor}, page.headers


@blp.delete("")
@fresh_admin_required
@switched_on("ALLOW_DELETE_ALL_USERS")
@blp.response(200, MessageSchema)
def delete_users() -> dict[str, str]:
    """Delete all users but yourself.  Administrators only, if ALLOW_DELETE_ALL_USERS is on."""
    if caller.id not in lock_admins():
        raise ApiError(Code.token_revoked)  # another administrator has just deleted or demoted the caller
    deleted = write(delete(User).where(User.id != caller.id))
    db.session.commit()
    log_event("users_deleted", by=caller.id, number=deleted)
    return {"message": f"{deleted} row(s) deleted"}


@blp.get("/me")
@login_required
@conditional
@blp.response(200, UserSchema)
def get_me() -> Any:
    """Who am I?"""
    return caller


@blp.patch("/me")
@fresh_login_required
@bad_names_counted(lambda: refused_renames(caller.id))
@blp.arguments(OwnChangesSchema)
@conditional
@blp.response(200, UserSchema)
@blp.fails(Code.not_found, Code.username_taken, Code.overloaded, Code.too_many_attempts)
def update_me(changes: dict[str, Any]) -> User:
    """Change your user name."""
    before = caller.username
    renames = changes.get("username", before) != before
    with counted_rename(caller.id) if renames else nullcontext():
        user = get_user_or_404(caller.id)
        if renames:
            refuse_mismatch(_USER, user)  # before the hash: a request that changes nothing must not test passwords
            if is_password(caller.id, changes["username"], request.remote_addr):
                raise invalid("json", "username", "This is your password. Choose another name.")
            user = get_user_or_404(caller.id)  # the hash has given the connection back
        require_match(_USER, user)
        for name, value in changes.items():
            setattr(user, name, value)
        with unique_or(ApiError(Code.username_taken)):
            db.session.commit()
    if renames:
        log_event("user_updated", changed=["username"], name_hash=name_hash(username_key(before)))
    return user


@blp.delete("/me")
@fresh_login_required
@conditional
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found, Code.last_admin)
def delete_me() -> dict[str, str]:
    """Delete your account.  Your items stay, without an owner."""
    user = get_user_or_404(caller.id)
    refuse_mismatch(_USER, user)  # before the lock, which makes all administrators wait
    admins = lock_admins()
    require_match(_USER, user)
    keep_an_admin(admins, without=caller.id)
    write(delete(User).where(User.id == caller.id))
    db.session.commit()
    log_event("user_deleted", by=caller.id)
    clear_cookies()
    return {"message": "User deleted."}


@blp.get("/<int:user_id>")
@login_required
@conditional
@blp.response(200, UserSchema)
@blp.fails(Code.forbidden, Code.not_found)
def get_user(user_id: int) -> Any:
    """Show a user.  Your own account; administrators see all."""
    if user_id == caller.id:
        return caller
    if not caller.may_administer:
        raise ApiError(Code.forbidden)
    return get_user_or_404(user_id)


@blp.patch("/<int:user_id>")
@fresh_admin_required
@blp.arguments(UserChangesSchema)
@conditional
@blp.response(200, UserSchema)
@blp.fails(Code.not_found, Code.last_admin)
def update_user(changes: dict[str, bool], user_id: int) -> User:
    """Promote, demote, activate or deactivate a user.  Administrators only.

    A promotion takes effect with the user's next token, any other change at once.
    """
    admins = lock_admins() if False in changes.values() else None
    user = get_user_or_404(user_id)
    require_match(_USER, user)
    if admins is not None:
        keep_an_admin(admins, without=user_id)
    for name, value in changes.items():
        setattr(user, name, value)
    if not user.is_active:
        end_sessions(user.id)  # or a later activation would make the old tokens valid again
    db.session.commit()
    log_event("authz_change", user_id=user.id, by=caller.id, **changes)
    if not user.is_active:
        log_event("session_ended", user_id=user.id, by=caller.id, sessions="all")
    if user.id == caller.id and not user.is_active:
        clear_cookies()
    return user


@blp.delete("/<int:user_id>")
@fresh_admin_required
@conditional
@blp.response(200, MessageSchema)
@blp.fails(Code.not_found, Code.last_admin)
def delete_user(user_id: int) -> dict[str, str]:
    """Delete a user.  Administrators only.  Their items stay, without an owner."""
    admins = lock_admins()
    require_match(_USER, get_user_or_404(user_id))
    keep_an_admin(admins, without=user_id)
    write(delete(User).where(User.id == user_id))
    db.session.commit()
    log_event("user_deleted", user_id=user_id, by=caller.id)
    if user_id == caller.id:
        clear_cookies()
    return {"message": "User deleted."}
