import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { DatastoreFiles, SqlEndpoint } from "../datastore-endpoint.ts";
import type { TlsMaterial } from "../tls-files.ts";

/** As Go's driver names them: whether to use TLS, and whether the server has to prove who it is. */
export type MysqlTls = "false" | "preferred" | "skip-verify" | "true";

/** What the address says to Go's driver, and this one does not need. */
const ignored = new Set([
  ...[
    "allowAllFiles",
    "allowCleartextPasswords",
    "allowFallbackToPlaintext",
    "allowNativePasswords",
    "allowOldPasswords",
  ],
  ...[
    "charset",
    "checkConnLiveness",
    "clientFoundRows",
    "collation",
    "columnsWithAlias",
    "compress",
    "connectionAttributes",
  ],
  ...["interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout", "rejectReadOnly"],
  ...["serverPubKey", "timeTruncate", "timeout", "tls", "writeTimeout"],
]);

export interface MysqlOptions {
  readonly tls: MysqlTls;
  /** Statements that set the session's variables, as the address asks. */
  readonly settings: readonly string[];
}

/**
 * What the address and the flags ask of a connection. As in K3s, files mean TLS that is verified, whatever the address says.
 * @throws ConfigurationError
 */
export function mysqlOptions({ parameters }: SqlEndpoint, files: DatastoreFiles): MysqlOptions {
  const settings: string[] = [];
  for (const [name, value] of parameters) {
    if (ignored.has(name)) continue;
    if (!/^[a-z_]\w*$/i.test(name))
      throw new ConfigurationError(`the datastore endpoint's parameter "${name}" is no variable of MySQL`);
    settings.push(`SET SESSION ${name} = ${value}`);
  }
  if (files.ca || files.cert || files.key) return { tls: "true", settings };
  const tls = parameters.get("tls")?.toLowerCase() ?? "false";
  const meaning = ({ "1": "true", "0": "false" } as Record<string, string>)[tls] ?? tls;
  if (!["false", "preferred", "skip-verify", "true"].includes(meaning))
    throw new ConfigurationError(
      `the datastore endpoint's tls "${tls}" is not known; use true, skip-verify, preferred or false`,
    );
  return { tls: meaning as MysqlTls, settings };
}

/** TLS as the client library takes it; undefined for none. */
export function tlsOptions(tls: MysqlTls, { ca, cert, key }: TlsMaterial) {
  if (tls === "false") return undefined;
  const verify = tls === "true";
  return {
    rejectUnauthorized: verify,
    verifyIdentity: verify,
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
  };
}
