import { join } from "node:path";
import { clusterClock, ioClock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { openStore } from "../../store/open-store.ts";
import type { Store } from "../../store/store.ts";
import { assertUnused } from "./data-hold.ts";
import { prepareEtcdCertificates } from "./etcd-certificates.ts";
import { clientUrl, type EtcdBeginning, etcdConfig, localAddress } from "./etcd-config.ts";
import { startEtcdProcess } from "./etcd-process.ts";
import { hostOf } from "./join-plan.ts";
import { type MemberClient, memberClient } from "./member-client.ts";
import { memberName } from "./member-name.ts";

export interface RunAloneOptions {
  /** `<data>/server` */
  readonly directory: string;
  readonly nodeName: string;
  /** The node's address. */
  readonly address: string;
  readonly exposeMetrics: boolean;
  readonly extraArguments: readonly string[];
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Starts etcd on a data directory, sees to it that it has no fellows, and ends it after `work`.
 * @throws ConfigurationError while the server runs
 */
export async function runAlone(
  options: RunAloneOptions,
  dataDirectory: string,
  beginning: EtcdBeginning,
  work: (store: Store) => Promise<void>,
): Promise<void> {
  const { directory, nodeName, address, logger, signal } = options;
  await assertUnused(directory);
  const clock = ioClock;
  const certificates = await prepareEtcdCertificates(join(directory, "tls"), [address, nodeName], clock);
  const url = clientUrl(localAddress(address));
  const members = memberClient([url], certificates.client, clock);
  const name = memberName(dataDirectory, nodeName);
  try {
    await assertNobodyAnswers(members, url);
    const etcd = await startEtcdProcess({
      dataDirectory,
      config: etcdConfig({ ...options, name, dataDirectory, certificates, beginning }),
      answers: () => members.status().then(() => {}),
      clock,
      logger,
      signal,
    });
    try {
      const found = await members.list();
      if (found.length !== 1)
        throw new Error(`etcd still has ${found.length} members: ${found.map(({ name }) => name)}`);
      const server = { host: hostOf(url), port: Number(new URL(url).port), tls: true };
      const store = await openStore({
        endpoint: { kind: "etcd", servers: [server] },
        files: certificates.client,
        sqlitePath: "",
        logger,
        clock: clusterClock,
      });
      await work(store).finally(() => store.close());
    } finally {
      await etcd.stop();
    }
  } finally {
    members.close();
  }
}

/** Another etcd would be taken for the one that is to start, which could not have its ports. */
async function assertNobodyAnswers(members: MemberClient, url: string): Promise<void> {
  const answers = await members.status().then(
    () => true,
    () => false,
  );
  if (answers) throw new ConfigurationError(`this server's etcd runs, at ${url}; stop the server first`);
}
