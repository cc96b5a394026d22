import type { Clock } from "../../machinery/clock.ts";
import { makeAuthorities } from "../certificates.ts";
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
 * its members know each other by, new ones, and who the members are. Holds private keys.
 * @returns the files of each founder, in the order of `founders`
 */
export async function foundingFiles(founders: readonly Founder[], clock: Clock): Promise<FoundingFile[][]> {
  const pairs = await makeAuthorities(etcdAuthorities, clock);
  const authorities = etcdAuthorities.flatMap(({ file }, index) => [
    { path: `tls/etcd/${file}.crt`, text: pairs[index]!.certificate },
    { path: `tls/etcd/${file}.key`, text: pairs[index]!.key },
  ]);
  const names = founders.map(({ nodeName }) => newMemberName(nodeName));
  const list = foundersFile(founders.map(({ address }, index) => `${names[index]}=${peerUrl(address)}`));
  return names.map((name) => [
    ...authorities,
    { path: "db/etcd/name", text: name },
    { path: `db/etcd/${list.name}`, text: list.text },
  ]);
}
