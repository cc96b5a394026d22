import type { Logger } from "../../machinery/log.ts";

/** Lines of etcd's log that are kept for the message of its end. */
const keptLines = 5;

/** Warnings that nobody has to heed: K3s' files beside the data, tokens, which are not used, and who waits to join. */
const everyday = new Set([
  "found invalid file under data directory",
  "simple token is not cryptographically signed",
  "rejecting member add request; local member has not been connected to majority peers, reconfigure breaks active quorum",
]);

/** What etcd tells when members have come, gone or changed, or when this one answers (again). */
const membership = new Set([
  "added member",
  "promote member",
  "updated member",
  "removed member",
  "ready to serve client requests",
]);

/**
 * Passes etcd's log on as part of ours. What etcd tells for information is for debugging here: it says more at each start
 * than everything else together.
 */
export class EtcdLog {
  readonly #logger: Logger;
  readonly #onMembers: () => void;
  readonly #last: string[] = [];
  #rest = "";
  /** etcd said that its member was removed from the cluster. */
  removed = false;

  /** @param onMembers called when the cluster's members may be others, or this one answers */
  constructor(logger: Logger, onMembers: () => void = () => {}) {
    this.#logger = logger.child({ component: "etcd" });
    this.#onMembers = onMembers;
  }

  /** Takes what etcd wrote, in pieces as they come. */
  write(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) if (line !== "") this.#line(line);
  }

  /** The last lines that were more than information, for an error message. */
  tail(): string {
    return this.#last.join("\n");
  }

  #line(line: string): void {
    const entry = parse(line);
    if (!entry) {
      this.#keep(line);
      this.#logger.warn(line);
      return;
    }
    const { level, ts: _ts, caller: _caller, stacktrace: _stack, msg, ...fields } = entry;
    const text = String(msg);
    if (level === "info" || level === "debug" || everyday.has(text)) {
      this.#logger.debug(fields, text);
      if (membership.has(text)) this.#onMembers();
      return;
    }
    this.#keep(`${text}${fields.error === undefined ? "" : `: ${fields.error}`}`);
    if (`${fields.error} ${text}`.includes("permanently removed from the cluster")) this.removed = true;
    if (level === "warn") this.#logger.warn(fields, text);
    else this.#logger.error(fields, text);
  }

  #keep(line: string): void {
    this.#last.push(line);
    if (this.#last.length > keptLines) this.#last.shift();
  }
}

function parse(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
