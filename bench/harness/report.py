"""Turns the samples of a run into the tables that people read: medians, ratios, targets. Measures nothing."""

from statistics import median

# name, title, measure, value in a sample, unit, lower is better, target as (kind, bound): "ratio" is Plank to the Node
# gateway (Node to Plank where lower is better and the bound is a factor), "value" is Plank's own figure.
FIGURES = (
    ("Commit to client, p50, 100 tx/s", "latency", "p50_ms", "ms", 3, ("ratio at most", 0.7)),
    ("Commit to client, p99, 100 tx/s", "latency", "p99_ms", "ms", 3, None),
    ("· bare COMMIT in the same run, p50", "latency", "commit_p50_ms", "ms", 3, None),
    ("Single-row tx/s that arrive, 8 writers", "writers", "per_second", "/s", 0, None),
    ("One transaction of many rows, until the last arrives", "rows", "seconds", "s", 3, ("times as fast", 5)),
    ("· of it after COMMIT was sent", "rows", "seconds_after_commit", "s", 3, None),
    ("Deliveries/s, fewer clients", "fanout_0", "per_second", "/s", 0, ("times as many", 4)),
    ("Deliveries/s, more clients", "fanout_1", "per_second", "/s", 0, ("times as many", 4)),
    ("Private memory per idle connection", "memory", "private_dirty_kb_each", "kB", 2, ("at most", 8)),
    ("· proportional set (PSS)", "memory", "pss_kb_each", "kB", 2, None),
    ("· resident set (RSS)", "memory", "rss_kb_each", "kB", 2, None),
    ("Writers' rate, 8 writers, nobody connected", "rate", "per_second", "/s", 0, None),
    ("· share of an untracked table's rate", "rate", "share", "", 2, None),
)
# title, measure, value, unit, digits, what is to be reached: "at most", "at least", "below".
PROMISES = (
    ("Writers' rate, share of an untracked table's, 16 writers, `wal`", "overhead", "wal_share", "", 2, ("at least", 0.85)),
    ("· `notify` beside it in the same run", "overhead", "notify_share", "", 2, None),
    ("· tracked rows written, `wal`", "overhead", "wal_per_second", "/s", 0, None),
    ("· tracked rows written, `notify`", "overhead", "notify_per_second", "/s", 0, None),
    ("Commit to client, `wal`, p50, 100 tx/s", "wal_latency", "p50_ms", "ms", 3, None),
    ("· beyond the bare COMMIT in the same run", "wal_latency", "beyond_ms", "ms", 3, ("at most", 1.0)),
    ("· p99", "wal_latency", "p99_ms", "ms", 3, None),
    ("Resume over {wal_megabytes:,} MB of WAL with {wal_changes:,} changes, until the last arrives", "resume", "seconds", "s", 2,
     ("below", 4)),
    ("· WAL written from the position to the reconnection", "resume", "wal_mb", "MB", 0, None),
    ("· WAL read again for it", "resume", "replayed_mb", "MB", 0, None),
    ("Foreign WAL passed over, per second of the worker's CPU time", "resume", "skipped_mb_per_second", "MB/s", 0,
     ("at least", 500)),
    ("One transaction of {bulk_rows:,} rows, `wal`, changes/s until the last arrives", "bulk", "per_second", "/s", 0,
     ("at least", 200_000)),
    ("· worker's memory grew by at most", "bulk", "worker_mb", "MB", 0, None),
    ("· writer's backend's memory grew by at most", "bulk", "backend_mb", "MB", 0, None),
    ("Standby: replay to client, p50", "standby", "p50_ms", "ms", 3, None),
    ("· p99", "standby", "p99_ms", "ms", 3, ("at most", 20)),
    ("· COMMIT sent at the primary to the standby's client, p50", "standby", "commit_p50_ms", "ms", 3, None),
    ("Worker's CPU time per change, {subscriptions:,} equality subscriptions against {few}", "subscriptions", "times",
     "times", 2, ("at most", 1.3)),
    ("· with {subscriptions:,}", "subscriptions", "many_us", "µs", 2, None),
    ("· with {few} of one connection", "subscriptions", "few_us", "µs", 2, None),
    ("· with one each of {few} connections, a transaction's 100 changes all for one", "subscriptions", "spread_us", "µs", 2, None),
    ("Subscribing, {subscriptions:,} on {clients:,} connections", "subscriptions", "per_second", "/s", 0, ("at least", 5000)),
    ("Private memory per subscription", "subscriptions", "bytes_each", "bytes", 0, ("below", 1024)),
    ("{ranges:,} distinct range filters on one table, changes/s", "ranges", "per_second", "/s", 0, ("at least", 10_000)),
    ("· worker's CPU time per change", "ranges", "worker_us", "µs", 2, None),
    ("Snapshot of {snapshot_rows:,} rows to one client, rows/s", "snapshot", "per_second", "/s", 0, ("at least", 150_000)),
    ("· meanwhile another client's commit to client, p99, 100 tx/s", "snapshot", "p99_ms", "ms", 3, ("below", 20)),
    ("· p50", "snapshot", "p50_ms", "ms", 3, None),
    ("Row security by a claim, {people} clients with a claim each, one-row transactions, changes/s", "claims", "per_second", "/s", 0,
     ("at least", 2000)),
    ("· worker's CPU time per change", "claims", "worker_us", "µs", 2, None),
    ("Policies that are evaluated, {people} different ones, decisions/s", "decisions", "per_second", "/s", 0, ("at least", 100_000)),
    ("· worker's CPU time per decision", "decisions", "worker_us", "µs", 3, None),
    ("· with a subquery each, {members} different ones, decisions/s", "subqueries", "per_second", "/s", 0, None),
    ("· worker's CPU time per decision", "subqueries", "worker_us", "µs", 2, None),
    ("{people} clients of one role and claim, deliveries/s with row security to those without", "shared", "share", "", 2,
     ("at least", 0.8)),
    ("· with row security", "shared", "secured_per_second", "/s", 0, None),
    ("· without", "shared", "open_per_second", "/s", 0, None),
    ("HS256 tokens verified per CPU second, never seen before", "tokens", "new_per_second", "/s", 0, None),
    ("· seen before", "tokens", "known_per_second", "/s", 0, None),
    ("TLS 1.3 handshakes (P-256) per second of the worker's CPU time", "handshakes", "per_second", "/s", 0, None),
    ("· `openssl s_server` with the same certificate and client", "handshakes", "openssl_per_second", "/s", 0, None),
    ("· CPU time that Plank adds to that, as a share of it", "handshakes", "added", "", 2, None),
)
EFFORT = ("rows", "fanout_0", "fanout_1", "writers")


def medians(result):
    """{measure: {gateway: {value: median of the rounds}}}; `rate` gains the share of the untracked table."""
    found = {}
    for measure, of_gateways in result["samples"].items():
        for gateway, samples in of_gateways.items():
            if samples:
                found.setdefault(measure, {})[gateway] = {key: median(sample[key] for sample in samples) for key in samples[0]}
    for gateway, values in found.get("rate", {}).items():
        untracked = found.get("untracked", {}).get(gateway)
        if untracked:
            values["share"] = values["per_second"] / untracked["per_second"]
    for values in found.get("wal_latency", {}).values():
        values["beyond_ms"] = values["p50_ms"] - values["commit_p50_ms"]
    return found


def figures_table(result):
    found = medians(result)
    lines = ["| figure | Plank | Node gateway | Plank : Node | to reach | reached |", "|---|---:|---:|---:|---|---|"]
    for title, measure, key, unit, digits, target in FIGURES:
        of_gateways = found.get(measure, {})
        plank, node = (of_gateways.get(name, {}).get(key) for name in ("plank", "node"))
        if plank is None and node is None:
            continue
        ratio = plank / node if plank is not None and node else None
        lines.append("| " + " | ".join((
            _title(title, measure, result["sizes"]), _number(plank, digits, unit), _number(node, digits, unit),
            "" if ratio is None else f"{ratio:.2f}", *_target(target, plank, ratio, unit))) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def promises_table(result):
    found = medians(result)
    sizes = result["sizes"]
    clients, each = sizes["holders"]
    words = {**{key: value for key, value in sizes.items() if isinstance(value, int)}, "clients": clients, "few": each,
             "subscriptions": clients * each}
    lines = ["| figure | Plank | to reach | reached |", "|---|---:|---|---|"]
    for title, measure, key, unit, digits, target in PROMISES:
        value = found.get(measure, {}).get("plank", {}).get(key)
        if value is not None:
            lines.append("| " + " | ".join((title.format(**words), _number(value, digits, unit),
                                            *_bound(target, value, unit))) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def effort_table(result):
    """Who was busy: where the gateway uses one whole core it is the limit, where the client does, the client is."""
    found = medians(result)
    lines = ["| measure | gateway | cores the gateway used | cores the client used | deliveries per read |", "|---|---|---:|---:|---:|"]
    for measure in EFFORT:
        for gateway, values in sorted(found.get(measure, {}).items()):
            each = values.get("deliveries_per_read")
            lines.append(f"| {_measure_title(measure, result['sizes'])} | {gateway} | {values['gateway_cpu']:.2f} "
                         f"| {values['client_cpu']:.2f} | {'' if each is None else f'{each:.1f}'} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def document(result):
    machine = "\n".join(f"- {name}: {value}" for name, value in result["machine"].items())
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    rounds = result["sizes"]["rounds"]
    missing = [title for name, title in (("plank", "Plank"), ("node", "The Node gateway")) if name not in result["gateways"]]
    note = f"\n{' and '.join(missing)} was not part of this run.\n" if missing else ""
    failures = "".join(f"\n- {failure}" for failure in result["failures"])
    exact = "No client missed a change or had one twice." if not failures else f"**Not exact or not measured:**{failures}"
    return f"""# Results

Written by `bench/report` from the JSON of one run; how it is measured stands in README.md.

- command: `{result["command"]}`
- when: {result["when"]}, revision {result["revision"]}
{machine}
- versions: {versions}
- medians of {rounds} round{"" if rounds == 1 else "s"}, gateways interleaved
{note}
{figures_table(result)}

{exact}
{_section("Plank alone: `wal`, resume, standby, filters, snapshots", promises_table(result))}{_section("Who was busy", effort_table(result))}"""


def _section(title, text):
    return f"\n## {title}\n\n{text}\n" if text else ""


def _title(title, measure, sizes):
    if measure == "rows":
        return title.replace("many", f"{sizes['rows']:,}")
    if measure.startswith("fanout"):
        return _measure_title(measure, sizes)
    if measure == "memory" and not title.startswith("·"):
        return f"{title}, {sizes['idle_clients']:,} of them"
    return title


def _measure_title(measure, sizes):
    if measure.startswith("fanout"):
        clients, changes = sizes["fanout"][int(measure[-1])]
        return f"Deliveries/s to {clients:,} clients ({changes:,} changes)"
    return {"rows": f"{sizes['rows']:,} rows in one transaction", "writers": "8 writers, one client"}[measure]


def _number(value, digits, unit):
    return "" if value is None else f"{value:,.{digits}f} {unit}".strip()


def _bound(target, value, unit):
    if target is None:
        return "", ""
    kind, bound = target
    reached = {"at most": value <= bound, "at least": value >= bound, "below": value < bound}[kind]
    return f"{kind} {bound:,} {unit}".strip(), "yes" if reached else "**no**"


def _target(target, plank, ratio, unit):
    if target is None:
        return "", ""
    kind, bound = target
    if kind == "at most":
        text, value, reached = f"at most {bound} {unit}", plank, lambda figure: figure <= bound
    elif kind == "ratio at most":
        text, value, reached = f"ratio at most {bound}", ratio, lambda figure: figure <= bound
    elif kind == "times as fast":
        text, value, reached = f"{bound} times as fast", ratio, lambda figure: 1 / figure >= bound
    else:
        text, value, reached = f"{bound} times as many", ratio, lambda figure: figure >= bound
    return text, "" if value is None else ("yes" if reached(value) else "**no**")
