import { cpSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseJson } from "../../machinery/json.ts";
import type { Logger } from "../../machinery/log.ts";
import type { Store } from "../../store/store.ts";
import { etcdDirectoryOf } from "./data-directory.ts";
import { localAddress } from "./etcd-config.ts";
import { hostOf } from "./join-plan.ts";
import { nodeOfMemberIn } from "./member-name.ts";
import { runAlone } from "./run-alone.ts";

/**
 * Opens what a member of embedded etcd has, whose server has ended: all of it, also what only its log has. etcd runs on a
 * copy for that time, alone and on loopback, so that the member stays what it was.
 * @param directory `<data>/server`
 */
export async function withMemberData(
  directory: string,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
  work: (store: Store) => Promise<void>,
): Promise<void> {
  const etcdDirectory = etcdDirectoryOf(directory);
  const copy = join(directory, "db", "etcd-copy");
  rmSync(copy, { recursive: true, force: true });
  try {
    cpSync(etcdDirectory, copy, { recursive: true });
    const options = {
      directory,
      nodeName: nodeOfMemberIn(etcdDirectory) ?? "",
      address: localAddress(addressOf(etcdDirectory)),
      exposeMetrics: false,
      extraArguments: [],
      logger,
      signal,
    };
    await runAlone(options, copy, { kind: "reset" }, work);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Where the member was at its last start. */
function addressOf(etcdDirectory: string): string {
  const config = parseJson(readFileSync(join(etcdDirectory, "config"), "utf8")) as Record<string, string>;
  return hostOf(config["advertise-client-urls"]!);
}
