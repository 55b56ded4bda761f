"""Sign calls to a target, and build the calls that log in and poll."""

from gateway.core.expression import EvaluationError
from gateway.core.http.request import PublicUrl, Response, Secret
from gateway.core.http.unsigned import UnsignedRequest
from gateway.core.http.url import split_url
from gateway.core.outcome.classify import AnswerNames
from gateway.core.outcome.errors import SpecError
from gateway.core.outcome.outcome import Reason
from gateway.core.recipe.keyring import Credential
from gateway.core.recipe.model import Recipe
from gateway.core.recipe.sign import Signed, SigningContext, sign
from gateway.core.sending.encode import build_request
from gateway.core.vendor.provider import Login
from gateway.core.vendor.route import Target

# A placeholder for measuring or showing a call without a session.
NO_SESSION = Secret("0" * 32)


def sign_call(
    target: Target,
    recipe: Recipe | None,
    request: UnsignedRequest,
    fresh: SigningContext,
    session: Secret | None = None,
) -> Signed:
    """Sign a call with the target's credential, or with `session` if the recipe carries one. Raises SpecError.

    Without a recipe the call stays unsigned.
    """
    if recipe is None or target.credential is None:
        return Signed.unsigned(request)
    credential = Credential(session or NO_SESSION) if carries_session(target, recipe) else target.credential
    return sign(request, recipe, credential, target.given, fresh)


def carries_session(target: Target, recipe: Recipe | None) -> bool:
    return target.login is not None and recipe is target.login.for_recipe


def login_request(target: Target, login: Login, *, now_ns: int, call_id: str) -> UnsignedRequest:
    """Build the call that logs in to a target. Raises SpecError."""
    names = {"given": target.given, "now_ns": now_ns, "call_id": call_id}
    try:
        return build_request(login.form, login_url(target, login), names)
    except (EvaluationError, ValueError) as error:
        raise SpecError.of(Reason.INTERNAL, f"{target.provider.name}: logging in: {error}") from error


def login_url(target: Target, login: Login) -> PublicUrl:
    """Return the base URL of the login call. Raises ValueError or EvaluationError."""
    return target.url if login.url is None else split_url(login.url({"given": target.given}) or "")


def login_token(login: Login, answer: Response) -> str | None:
    """Return the session token of an answer, None if the login failed."""
    try:
        token = login.token(AnswerNames(answer))
    except EvaluationError:
        return None
    return token if 200 <= answer.status <= 299 and isinstance(token, str) and token else None


def poll_request(target: Target, path: str) -> UnsignedRequest:
    """Build the request that polls an asynchronous call for its result. `path` may end in a query."""
    return UnsignedRequest("GET", target.url.scheme, target.url.host, path)


def poll_recipe(target: Target) -> Recipe | None:
    """Return the recipe that signs a poll request."""
    sign = target.send.poll.sign if target.send.poll else "none"
    if isinstance(sign, Recipe):
        return sign
    return target.recipe if sign == "own" else None
