import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { DatastoreFiles } from "../datastore-endpoint.ts";

/**
 * How connections to etcd are made and verified: with the authority given, else with those that the system trusts.
 * @throws ConfigurationError that names the file and its option
 */
export function tlsFromFiles({ ca, cert, key }: DatastoreFiles): ConnectionOptions {
  if ((cert === undefined) !== (key === undefined))
    throw new ConfigurationError(
      "a client certificate for etcd needs both --datastore-certfile and --datastore-keyfile",
    );
  return {
    ...(ca === undefined ? {} : { ca: read(ca, "--datastore-cafile") }),
    ...(cert === undefined ? {} : { cert: read(cert, "--datastore-certfile") }),
    ...(key === undefined ? {} : { key: read(key, "--datastore-keyfile") }),
  };
}

function read(path: string, option: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ConfigurationError(`the file of ${option} cannot be read: ${(error as Error).message}`);
  }
}
