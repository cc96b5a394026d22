import type { Clock } from "../../machinery/clock.ts";
import { clusterAuthorities, generateKey, makeAuthorities, serviceAccountKey } from "../certificates.ts";
import { etcdAuthorities } from "./etcd-certificates.ts";
import { peerUrl } from "./etcd-config.ts";
import { foundersFile } from "./founders.ts";
import { newMemberName } from "./member-name.ts";

/** A server that is to found a cluster with others. */
export interface Founder {
  readonly nodeName: string;
  /** Where the others reach it. */
  readonly address: string;
}

/** A file that a server finds at its first start. */
export interface FoundingFile {
  /** Below `<data>/server`. */
  readonly path: string;
  readonly text: string;
}

/**
 * What servers need to find before their first start to found a cluster with embedded etcd together: the authorities that
 * its members know each other by, and who the members are. Also the cluster's own authorities, which they would agree on in
 * etcd otherwise: all but one would throw theirs away then, with the certificates that they have just made. Holds private
 * keys.
 * @returns the files of each founder, in the order of `founders`
 */
export async function foundingFiles(founders: readonly Founder[], clock: Clock): Promise<FoundingFile[][]> {
  const paths = [
    ...etcdAuthorities.map(({ file }) => `tls/etcd/${file}`),
    ...clusterAuthorities.map(({ file }) => `tls/${file}`),
  ];
  const pairs = await makeAuthorities([...etcdAuthorities, ...clusterAuthorities], clock);
  const authorities = paths.flatMap((path, index) => [
    { path: `${path}.crt`, text: pairs[index]!.certificate },
    { path: `${path}.key`, text: pairs[index]!.key },
  ]);
  const tokens = { path: `tls/${serviceAccountKey}.key`, text: generateKey() };
  const names = founders.map(({ nodeName }) => newMemberName(nodeName));
  const list = foundersFile(founders.map(({ address }, index) => `${names[index]}=${peerUrl(address)}`));
  return names.map((name) => [
    ...authorities,
    tokens,
    { path: "db/etcd/name", text: name },
    { path: `db/etcd/${list.name}`, text: list.text },
  ]);
}
