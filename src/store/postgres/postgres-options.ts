import type { ConnectionOptions } from "node:tls";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { DatastoreFiles, SqlEndpoint } from "../datastore-endpoint.ts";
import type { TlsMaterial } from "../tls-files.ts";

/** libpq's names: from no TLS at all, through either ("allow", "prefer"), to one that proves the server's name. */
export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

const modes: readonly string[] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/** What the address says to a client of another language, and this one does not need. */
const ignored = new Set([
  ...["connect_timeout", "target_session_attrs", "fallback_application_name", "statement_cache_capacity"],
  ...["default_query_exec_mode", "description_cache_capacity", "binary_parameters", "sslcompression", "sslsni"],
]);

export interface PostgresOptions {
  readonly sslMode: SslMode;
  /** The files of the flags, or of the address where it names some: "sslrootcert", "sslcert", "sslkey". */
  readonly files: DatastoreFiles;
  /** Settings of the session, by name. */
  readonly settings: ReadonlyMap<string, string>;
}

/**
 * What the address and the flags ask of a connection. As in K3s, the address goes before the flags, and files without an
 * `sslmode` mean "verify-full". @throws ConfigurationError
 */
export function postgresOptions({ parameters }: SqlEndpoint, flags: DatastoreFiles): PostgresOptions {
  const settings = new Map<string, string>();
  for (const [name, value] of parameters) {
    if (name.startsWith("pool_") || ignored.has(name)) continue;
    if (!["sslmode", "sslrootcert", "sslcert", "sslkey"].includes(name)) settings.set(name, value);
  }
  const file = (name: string, flag: string | undefined) => parameters.get(name) || flag;
  const ca = file("sslrootcert", flags.ca);
  const cert = file("sslcert", flags.cert);
  const key = file("sslkey", flags.key);
  const sslMode = parameters.get("sslmode") ?? (flags.ca || flags.cert || flags.key ? "verify-full" : "prefer");
  if (!modes.includes(sslMode))
    throw new ConfigurationError(
      `the datastore endpoint's sslmode "${sslMode}" is not known; use one of ${modes.join(", ")}`,
    );
  return {
    sslMode: sslMode as SslMode,
    files: { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) },
    settings,
  };
}

/** The session's settings as a connection's first message carries them: "-c name=value …". */
export function startupOptions(settings: ReadonlyMap<string, string>): string {
  const escaped = (text: string) => text.replace(/[\\ ]/g, "\\$&");
  return [...settings]
    .map(([name, value]) => (name === "options" ? value : `-c ${escaped(name)}=${escaped(value)}`))
    .join(" ");
}

/**
 * TLS as a mode asks for it; undefined for none. As libpq does, "require" verifies the chain where an authority is given,
 * and only "verify-full" the server's name.
 */
export function tlsOptions(mode: SslMode, { ca, cert, key }: TlsMaterial): ConnectionOptions | undefined {
  if (mode === "disable") return undefined;
  const verify = mode.startsWith("verify-") || (mode === "require" && ca !== undefined);
  return {
    rejectUnauthorized: verify,
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(mode === "verify-full" ? {} : { checkServerIdentity: () => undefined }),
  };
}
