import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { DatastoreFiles } from "./datastore-endpoint.ts";

/** What TLS connections are made and verified with, in PEM. Without an authority, by those that the system trusts. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const certificate = { begin: /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/, name: "certificate" };
const contents: Readonly<Record<keyof DatastoreFiles, { begin: RegExp; name: string }>> = {
  ca: certificate,
  cert: certificate,
  key: { begin: /-----BEGIN [A-Z ]*PRIVATE KEY-----/, name: "private key" },
};

/**
 * Reads the files of a store's connections.
 * @throws ConfigurationError that names the option whose file is missing, cannot be read, or holds something else
 */
export function readTlsFiles(files: DatastoreFiles): TlsMaterial {
  if (!files.cert !== !files.key) {
    const missing = files.cert ? "--datastore-keyfile" : "--datastore-certfile";
    throw new ConfigurationError(`the datastore's client certificate needs both files: ${missing} is missing`);
  }
  const material: TlsMaterial = { ...read("ca", files.ca), ...read("cert", files.cert), ...read("key", files.key) };
  try {
    // Node says which two do not belong together only when they are used.
    createSecureContext(material);
  } catch (error) {
    throw new ConfigurationError(
      `the files of --datastore-cafile, -certfile and -keyfile cannot be used: ${(error as Error).message}`,
    );
  }
  return material;
}

function read(kind: keyof DatastoreFiles, path: string | undefined): TlsMaterial {
  if (!path) return {};
  const option = `--datastore-${kind}file`;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigurationError(`the file of ${option} cannot be read: ${(error as Error).message}`);
  }
  const { begin, name } = contents[kind];
  // An authority that is none would be passed over, and then nothing is trusted.
  if (!begin.test(text)) throw new ConfigurationError(`the file of ${option}, "${path}", holds no ${name} in PEM`);
  return { [kind]: text };
}
