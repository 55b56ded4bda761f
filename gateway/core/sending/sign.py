"""Signs a call for a target, by the recipe and with the credential that its route has. Builds the call that logs in."""

from gateway.core.expression import EvaluationError
from gateway.core.http.json import read_json
from gateway.core.http.request import PublicUrl, Response, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.http.url import split_url
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Fresh, Signed, sign
from gateway.core.sending.encode import build_request
from gateway.core.vendor.provider import Login
from gateway.core.vendor.route import Target

# Stands in for a session where only the size of a call is asked for, or what it would look like.
NO_SESSION = Secret("0" * 32)


def sign_call(target: Target, draft: UnsignedRequest, fresh: Fresh, session: Secret | None = None) -> Signed:
    """Sign a report by the target's own recipe. Raises SpecError."""
    return sign_by(target.recipe, target, draft, fresh, session)


def sign_by(
    recipe: Recipe | None, target: Target, draft: UnsignedRequest, fresh: Fresh, session: Secret | None = None
) -> Signed:
    """Sign any call to a target; without a recipe it goes as it is. Raises SpecError.

    `session` is what logging in gave, for a recipe that carries one.
    """
    if recipe is None or target.credential is None:
        return Signed.unsigned(draft)
    credential = Credential(session or NO_SESSION) if carries_session(target, recipe) else target.credential
    given = {name: str(value) for name, value in target.given.items()}
    return sign(draft, recipe, credential, given, fresh)


def carries_session(target: Target, recipe: Recipe | None) -> bool:
    return target.login is not None and recipe is target.login.for_recipe


def login_request(target: Target, login: Login, *, now_ns: int, call_id: str) -> UnsignedRequest:
    """Return the call that logs in to a target, not yet signed. Raises SpecError."""
    names = {"given": target.given, "now_ns": now_ns, "call_id": call_id}
    try:
        return build_request(login.form, login_url(target, login), names)
    except (EvaluationError, ValueError) as error:
        raise SpecError.of(Reason.INTERNAL, f"{target.provider.name}: logging in: {error}") from error


def login_url(target: Target, login: Login) -> PublicUrl:
    """Return the base URL of the call that logs in. Raises ValueError or EvaluationError."""
    return target.url if login.url is None else split_url(login.url({"given": target.given}) or "")


def login_token(login: Login, answer: Response) -> str | None:
    """Return the token that an answer holds; None where logging in failed."""
    try:
        body = read_json(answer.body)
    except ValueError:
        body = None
    headers = {name.lower().replace("-", "_"): value for name, value in answer.headers}
    try:
        token = login.token({"body": body, "headers": headers})
    except EvaluationError:
        return None
    return token if 200 <= answer.status <= 299 and isinstance(token, str) and token else None
