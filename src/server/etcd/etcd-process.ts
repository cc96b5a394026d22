import { type ChildProcess, spawn } from "node:child_process";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "../../agent/host/files.ts";
import type { Clock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { bury } from "./data-directory.ts";
import { EtcdLog } from "./etcd-log.ts";

export interface EtcdProcessOptions {
  /** etcd's own; its configuration file is in it, too. */
  readonly dataDirectory: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Resolves when etcd answers; rejects when it does not (yet). */
  readonly answers: () => Promise<void>;
  /** Called when the cluster's members may be others, or this one answers (again). */
  readonly onMembers?: () => void;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The cluster has removed this member, whose data is of no use any more. */
export class MemberRemovedError extends ConfigurationError {
  constructor() {
    super("This node has been removed from the cluster - please restart k3s to rejoin the cluster");
  }
}

/** How long etcd may be silent before it is said what it waits for: the others, mostly. */
const silenceMs = 10_000;

/** etcd as a child of this server: started again when it crashes, and ended with the server, however that ends. */
export interface EtcdProcess {
  /** Resolves when the cluster has removed this member: it is not started again. */
  readonly removed: Promise<MemberRemovedError>;
  /** Ends etcd in order. */
  stop(): Promise<void>;
}

/** An orderly end hands the leadership over and closes the database; one that takes longer hangs. */
const stopTimeoutMs = 10_000;
/** etcd that ran this long and crashed is started again at once. */
const healthyMs = 30_000;
const longestPauseMs = 10_000;

/**
 * Starts etcd and waits until it answers.
 * @throws MemberRemovedError when the cluster has removed this member, else with what it said last when it ends before
 */
export async function startEtcdProcess(options: EtcdProcessOptions): Promise<EtcdProcess> {
  const { dataDirectory, logger, clock, signal } = options;
  const configFile = join(dataDirectory, "config");
  // JSON is YAML, which etcd reads.
  await replaceFile(configFile, `${JSON.stringify(options.config, null, 2)}\n`, 0o600);
  await chmod(dataDirectory, 0o700);

  let stopping = false;
  let child: ChildProcess | undefined;
  let ended: Promise<EtcdLog> = Promise.reject(new Error("not started"));
  ended.catch(() => {});
  let pause = new AbortController();
  const removed = Promise.withResolvers<MemberRemovedError>();

  const launch = () => {
    const log = new EtcdLog(logger, options.onMembers);
    // A session of its own: an interrupt from the keyboard is for the server, which ends etcd when its turn has come. The
    // kernel kills etcd with the server, so that none is left that holds the ports and the database of the next start.
    const started = spawn("setpriv", ["--pdeathsig", "KILL", "etcd", "--config-file", configFile], {
      detached: true,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ...environment },
    });
    started.stderr!.setEncoding("utf8").on("data", (text: string) => log.write(text));
    child = started;
    ended = new Promise((resolve) => {
      started.once("error", (error) => {
        log.write(`${error.message}\n`);
        resolve(log);
      });
      started.once("close", () => resolve(log));
    });
    return ended;
  };

  /** Resolves when etcd answers, or throws when it has ended. */
  const answering = async (end: Promise<EtcdLog>): Promise<void> => {
    const over = new AbortController();
    const died = end.then((log) => {
      over.abort();
      if (log.removed) {
        bury(dataDirectory);
        throw new MemberRemovedError();
      }
      throw new Error(`etcd ended before it answered: ${log.tail() || "it said nothing"}`);
    });
    const until = AbortSignal.any([signal, over.signal]);
    const asked = (async () => {
      for (let delayMs = 20; ; delayMs = Math.min(200, delayMs * 1.5)) {
        const answered = await options.answers().then(
          () => true,
          () => false,
        );
        if (answered) return;
        await clock.sleep(delayMs, until);
      }
    })();
    const told = new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    // What lost the race may still reject, with nobody listening.
    for (const loser of [died, asked, told]) loser.catch(() => {});
    const waiting = clock.after(silenceMs, () =>
      logger.warn("etcd does not answer yet; it waits until most of the cluster's members run"),
    );
    await Promise.race([died, asked, told]).finally(() => waiting.cancel());
  };

  const stop = async () => {
    stopping = true;
    pause.abort();
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const timer = clock.after(stopTimeoutMs, () => {
      logger.warn("etcd does not end; it is killed");
      child?.kill("SIGKILL");
    });
    child.kill("SIGTERM");
    await ended;
    timer.cancel();
  };

  const supervise = async () => {
    for (let failures = 0; ; ) {
      const startedMs = clock.now();
      const log = await ended;
      if (stopping) return;
      if (log.removed) {
        bury(dataDirectory);
        return removed.resolve(new MemberRemovedError());
      }
      failures = clock.now() - startedMs > healthyMs ? 0 : failures + 1;
      const pauseMs = failures < 2 ? 0 : Math.min(longestPauseMs, 250 * 2 ** failures);
      logger.error({ exit: describeExit(child), pauseMs, said: log.tail() }, "etcd ended; it is started again");
      pause = new AbortController();
      await clock.sleep(pauseMs, pause.signal).catch(() => {});
      if (stopping) return;
      void launch();
    }
  };

  const first = launch();
  try {
    await answering(first);
  } catch (error) {
    await stop();
    throw signal.aborted ? signal.reason : error;
  }
  void supervise();
  return { removed: removed.promise, stop };
}

/** Less memory for a little more collecting: etcd's heap is small beside its caches. */
const environment: Record<string, string> = {
  GOGC: "50",
  // Else etcd refuses to run on 32 bits, though Debian builds it for them.
  ...(process.arch === "arm" ? { ETCD_UNSUPPORTED_ARCH: "arm" } : {}),
};

function describeExit(child: ChildProcess | undefined): string {
  if (child?.signalCode) return `killed by ${child.signalCode}`;
  return `exit code ${child?.exitCode}`;
}
