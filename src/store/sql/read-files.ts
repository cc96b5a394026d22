import { readFile } from "node:fs/promises";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { DatastoreFiles } from "../datastore-endpoint.ts";

/** What TLS connections are made with, in PEM. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Reads the files of a connection. Throws ConfigurationError that names a file that cannot be read, or a missing half. */
export async function readTlsFiles({ ca, cert, key }: DatastoreFiles): Promise<TlsMaterial> {
  if (!cert !== !key)
    throw new ConfigurationError(
      `the datastore's client certificate needs both files: ${cert ? "--datastore-keyfile is missing" : "--datastore-certfile is missing"}`,
    );
  const read = async (name: string, path: string | undefined) => {
    if (!path) return {};
    try {
      return { [name]: await readFile(path, "utf8") };
    } catch (error) {
      throw new ConfigurationError(`cannot read the datastore's ${name} file: ${(error as Error).message}`);
    }
  };
  return { ...(await read("ca", ca)), ...(await read("cert", cert)), ...(await read("key", key)) };
}
