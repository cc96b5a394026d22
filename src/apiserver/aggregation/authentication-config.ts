/** What servers behind APIServices read to know whom this one vouches for: kube-system/extension-apiserver-authentication. */
import { type ConfigMap, configMaps } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import { createInformer } from "../../client/informer.ts";
import type { Clock } from "../../machinery/clock.ts";
import { deepEqual } from "../../machinery/equality.ts";
import type { Logger } from "../../machinery/log.ts";
import { hasReason } from "../../machinery/status.ts";
import { readCertificates } from "../authentication/pem.ts";

const name = "extension-apiserver-authentication";
const namespace = "kube-system";
const retryMs = 5000;

export interface ExtensionAuthentication {
  /** PEM of the authority of client certificates. */
  readonly clientCa: string;
  /** PEM of the authority of {@link ProxyClient}s. */
  readonly requestHeaderCa: string;
  /** Common names that such a certificate may have. */
  readonly allowedNames: readonly string[];
}

/** Certificates of both bundles, each once, without those that are over. What cannot be read is dropped. */
function joined(present: string | undefined, wanted: string, nowMs: number): string {
  const known = () => {
    try {
      return readCertificates(present ?? "");
    } catch {
      return [];
    }
  };
  const all = new Map<string, string>();
  for (const certificate of [...known(), ...readCertificates(wanted)]) {
    if (Date.parse(certificate.validTo) > nowMs) all.set(certificate.fingerprint256, certificate.toString());
  }
  return [...all.values()].join("");
}

function dataFor(info: ExtensionAuthentication, present: Readonly<Record<string, string>>, nowMs: number) {
  return {
    ...present,
    "client-ca-file": joined(present["client-ca-file"], info.clientCa, nowMs),
    "requestheader-allowed-names": JSON.stringify(info.allowedNames),
    "requestheader-client-ca-file": joined(present["requestheader-client-ca-file"], info.requestHeaderCa, nowMs),
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-username-headers": '["X-Remote-User"]',
  };
}

/** Keeps the ConfigMap as it should be, until the signal. */
export function keepAuthenticationConfig(options: {
  readonly client: Client;
  readonly info: ExtensionAuthentication;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}): void {
  const { client, info, clock, logger, signal } = options;
  const informer = createInformer(client, configMaps, {
    namespace,
    fieldSelector: `metadata.name=${name}`,
    clock,
    logger,
  });

  const settle = async () => {
    const present = informer.get(`${namespace}/${name}`) as ConfigMap | undefined;
    const wanted = (data: Readonly<Record<string, string>> = {}) => dataFor(info, data, clock.now());
    if (!present) {
      await client.create(configMaps, { metadata: { name, namespace }, data: wanted() });
      return;
    }
    const data = wanted(present.data);
    if (deepEqual(data, present.data)) return;
    await client.update(configMaps, { ...present, data });
  };
  const look = () => {
    settle().catch((error) => {
      // Somebody else wrote it: the event of that is on its way.
      if (signal.aborted || hasReason(error, "Conflict") || hasReason(error, "AlreadyExists")) return;
      logger.warn({ err: error }, "Writing the authentication information of API servers failed; it is tried again");
      clock.after(retryMs, () => signal.aborted || look());
    });
  };
  informer.on({ update: look, delete: look });
  void informer.start(signal);
  informer.synced(signal).then(look, () => {});
}
