"""The companies, for support: what one of them has, and which use most."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from panels import GREEN, RED, Levels, Query, bars, board, curves, note, number, variable

_ONE = 'company=~"$company"'
_COLOURS = {"pending": "blue", "processing": "orange", "ready": GREEN, "failed": RED}
_STORED = "max by (company) (watcher_company_stored_bytes)"
_QUOTA = "max by (company) (watcher_company_quota_bytes)"

_COMPANY = [
    number(
        "Assets by status",
        "What the company has: pending ones wait for their file, or to be begun with.",
        "none",
        Query(f"max by (status) (watcher_company_assets{{{_ONE}}})", "{{status}}"),
        levels=Levels.plain(),
        span=12,
    ),
    number(
        "Use of the quota",
        "Part of its storage quota that the company's files take; at 100 % uploads are refused.",
        "percentunit",
        Query(
            f"max(watcher_company_stored_bytes{{{_ONE}}})"
            f" / max(watcher_company_quota_bytes{{{_ONE}}})"
        ),
        levels=Levels.rising(0.8, 0.95),
    ),
    number(
        "Stored",
        "What the company's files take, originals and outputs.",
        "bytes",
        Query(f"max(watcher_company_stored_bytes{{{_ONE}}})"),
        levels=Levels.plain(),
    ),
    number(
        "Quota",
        "What the company's files may take: mediactl quota --set changes it.",
        "bytes",
        Query(f"max(watcher_company_quota_bytes{{{_ONE}}})"),
        levels=Levels.plain(),
    ),
    curves(
        "Assets over time",
        "The company's assets by status.",
        "none",
        Query(f"max by (status) (watcher_company_assets{{{_ONE}}})", "{{status}}"),
        stacked=True,
        colours=_COLOURS,
    ),
    curves(
        "Stored against quota",
        "What the company's files take, and may take.",
        "bytes",
        Query(f"max(watcher_company_stored_bytes{{{_ONE}}})", "stored"),
        Query(f"max(watcher_company_quota_bytes{{{_ONE}}})", "quota"),
        colours={"quota": RED},
    ),
    note(
        "What to do",
        "The commands that answer a company's question.",
        "- *Where is my file?* `mediactl asset ID`\n"
        "- *Why did it fail?* `mediactl failed`, then `mediactl retry ID` if the fault was ours\n"
        "- *My uploads are refused:* `quota_exceeded` means the quota is used up:"
        " `mediactl quota`, `mediactl quota --set`\n"
        "- *Nothing happens:* `mediactl oldest`; the overview tells whether all wait\n\n"
        "Metrics have the busiest and fullest companies only; `mediactl quota` lists all.",
    ),
]

_ALL = [
    bars(
        "Top companies by backlog",
        "Companies with the most assets that are not ended, unused grants included.",
        "none",
        Query(
            "topk(10, sum by (company)"
            ' (max by (company, status) (watcher_company_assets{status=~"pending|processing"})))',
            "{{company}}",
        ),
        levels=Levels.plain(),
    ),
    bars(
        "Top companies by use of their quota",
        "Companies that will be refused first.",
        "percentunit",
        Query(f"topk(10, {_STORED} / {_QUOTA})", "{{company}}"),
        levels=Levels.rising(0.8, 0.95),
    ),
    bars(
        "Top companies by what they store",
        "Companies whose files take the most.",
        "bytes",
        Query(f"topk(10, {_STORED})", "{{company}}"),
        levels=Levels.plain(),
    ),
    curves(
        "Near their quota",
        "By severity: info from 80 %, ticket from 95 %, page where uploads are refused.",
        "none",
        Query("max by (severity) (watcher_companies_nearly_full)", "{{severity}}"),
    ),
    bars(
        "Top companies by failures",
        "Companies with the most assets whose last attempt failed.",
        "none",
        Query(
            'topk(10, max by (company) (watcher_company_assets{status="failed"}))', "{{company}}"
        ),
        levels=Levels.plain(),
    ),
    curves(
        "Companies",
        "Companies that have a bucket.",
        "none",
        Query("max(watcher_companies)", "companies"),
    ),
]


def dashboard() -> Dashboard:
    """Return it."""
    return board(
        "media-companies",
        "Media: companies",
        "For support: what a company has, and which companies use most.",
        {"Company $company": _COMPANY, "All companies": _ALL},
        variable(
            "company",
            "Company",
            "The company to look at.",
            "label_values(watcher_company_assets, company)",
            multi=False,
        ),
    )
