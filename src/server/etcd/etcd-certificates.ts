import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../machinery/clock.ts";
import type { DatastoreFiles } from "../../store/datastore-endpoint.ts";
import { type AuthoritySpec, ensureCertificates, type LeafSpec } from "../certificates.ts";

/** Paths of the PEM files that etcd, its peers and its clients know each other by. */
export interface EtcdCertificates {
  /** What a client connects with. */
  readonly client: Required<DatastoreFiles>;
  /** What etcd shows its clients, and knows them by. */
  readonly server: Required<DatastoreFiles>;
  /** What members show each other. */
  readonly peer: Required<DatastoreFiles>;
}

/** In K3s' files below `<data>/server/tls/etcd`. */
export const etcdAuthorities: readonly AuthoritySpec[] = [
  { file: "server-ca", commonName: "etcd-server-ca" },
  { file: "peer-ca", commonName: "etcd-peer-ca" },
];

/**
 * Makes what is missing or due in K3s' files below `<data>/server/tls/etcd`. Authorities that stand there, fetched from
 * the cluster or placed by the user, are used.
 * @param names what members and clients reach this member by, beside its loopback addresses
 */
export async function prepareEtcdCertificates(
  tlsDirectory: string,
  names: readonly string[],
  clock: Clock,
): Promise<EtcdCertificates> {
  const directory = join(tlsDirectory, "etcd");
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // etcd compares the address that a peer calls from with the names of its certificate.
  const reachedBy = ["localhost", "127.0.0.1", "::1", ...names];
  const leaves: readonly LeafSpec[] = [
    { file: "client", ca: "server-ca", commonName: "etcd-client", usages: ["clientAuth"] },
    {
      file: "server-client",
      ca: "server-ca",
      commonName: "etcd-server",
      names: reachedBy,
      usages: ["serverAuth", "clientAuth"],
    },
    {
      file: "peer-server-client",
      ca: "peer-ca",
      commonName: "etcd-peer",
      names: reachedBy,
      usages: ["serverAuth", "clientAuth"],
    },
  ];
  await ensureCertificates(directory, etcdAuthorities, leaves, { clock });
  const files = (ca: string, leaf: string) => ({
    ca: join(directory, `${ca}.crt`),
    cert: join(directory, `${leaf}.crt`),
    key: join(directory, `${leaf}.key`),
  });
  return {
    client: files("server-ca", "client"),
    server: files("server-ca", "server-client"),
    peer: files("peer-ca", "peer-server-client"),
  };
}
