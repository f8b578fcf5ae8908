"""
A person's confirmation of a deletion.

Invariant: a client that can ask the person asks, whatever the agent says.
"""

from __future__ import annotations

import json
from typing import Annotated
from uuid import UUID

from mcp.server.mcpserver import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from mcp.types import ClientCapabilities
from pydantic import BaseModel, Field

from media_pipeline.api.models import AssetView
from media_pipeline_mcp.pipeline import Ctx, RefusedError

NOT_CONFIRMED = "not_confirmed"
"""The code of a deletion that nobody has confirmed."""


class Consent(BaseModel):
    """What the person is asked."""

    delete: bool = Field(title="Delete it", description="Delete the asset and its files for good.")


async def doomed(asset_id: UUID, ctx: Ctx) -> AssetView:
    """Return the asset that is to be deleted."""
    async with ctx.request_context.lifespan_context.caller(ctx) as caller:
        return await caller.asset(asset_id)


async def consent(
    confirm_file_name: str | None,
    asset: Annotated[AssetView, Resolve(doomed)],
    ctx: Ctx,
) -> Consent | Elicit[Consent]:
    """Return the question for the person, or the consent that the file's name gives."""
    if can_ask(ctx.client_capabilities):
        # The name is an uploader's: quoted, it cannot pass for more of the question.
        name = json.dumps(asset.file_name, ensure_ascii=False)
        return Elicit(
            f"Delete the file {name} ({asset.size} bytes, {asset.status}, of {asset.created_at}) "
            "and all that was made of it? This cannot be undone.",
            Consent,
        )
    if confirm_file_name != asset.file_name:
        raise RefusedError(
            NOT_CONFIRMED,
            "Ask the person first; then give the asset's exact file name as confirm_file_name.",
        )
    return Consent(delete=True)


def can_ask(capabilities: ClientCapabilities | None) -> bool:
    """Return whether a client can show its person a form."""
    asks = capabilities.elicitation if capabilities else None
    # Before there were kinds of questions, the empty object meant forms.
    return asks is not None and (asks.form is not None or asks.url is None)


def check(answer: ElicitationResult[Consent]) -> None:
    """Raise RefusedError unless the person consented."""
    if not (isinstance(answer, AcceptedElicitation) and answer.data.delete):
        raise RefusedError(NOT_CONFIRMED, "The person did not agree: nothing was deleted.")
