import { ConfigurationError } from "../machinery/configuration-error.ts";
import type { EtcdMembership } from "./etcd/etcd-membership.ts";

/** PEM files that a store's connections are made with (`--datastore-cafile`, `-certfile`, `-keyfile`). */
export interface DatastoreFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Where a SQL server listens: a unix socket or an address. */
export type SqlAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** How to log in to a SQL server, and which of its databases holds the cluster. */
export interface SqlEndpoint {
  readonly address: SqlAddress;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** The rest of the address, as the database's own clients read it: "sslmode", "tls", … */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Which store a cluster lives in. */
export type DatastoreEndpoint =
  | { readonly kind: "sqlite" /** Absent: the data directory's own. */; readonly path?: string }
  | {
      readonly kind: "etcd";
      readonly servers: readonly { host: string; port: number; tls: boolean }[];
      /** Present where the members are known to come and go: embedded etcd's. */
      readonly membership?: EtcdMembership;
    }
  | ({ readonly kind: "postgres" } & SqlEndpoint)
  | ({ readonly kind: "mysql" } & SqlEndpoint);

const defaultDatabase = "kubernetes";

const known =
  'use "sqlite:///path/state.db", "https://host:2379,https://…" (etcd), "postgres://user:password@host:5432/database" or ' +
  '"mysql://user:password@tcp(host:3306)/database"';

/**
 * Reads K3s' forms of `--datastore-endpoint`. Empty, or "sqlite", is SQLite in the data directory.
 * @throws ConfigurationError that names the part that is wrong, and never a password
 * @see https://docs.k3s.io/datastore#datastore-endpoint-format-and-functionality
 */
export function parseDatastoreEndpoint(text: string): DatastoreEndpoint {
  if (text === "" || text === "sqlite") return { kind: "sqlite" };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(text)?.[1];
  switch (scheme) {
    case "sqlite": {
      const path = text.slice("sqlite://".length).replace(/\?.*$/, "");
      return path === "" ? { kind: "sqlite" } : { kind: "sqlite", path };
    }
    case "http":
    case "https":
      return { kind: "etcd", servers: text.split(",").map(etcdServer) };
    case "postgres":
    case "postgresql":
      return { kind: "postgres", ...postgresEndpoint(text.slice(scheme.length + 3)) };
    case "mysql":
      return { kind: "mysql", ...mysqlEndpoint(text.slice("mysql://".length)) };
    default:
      throw wrong(scheme ? `the scheme "${scheme}" is not one of a datastore that is built in` : "it has no scheme");
  }
}

/** The endpoint as logs may show it: no password, no parameters. */
export function describeDatastore(endpoint: DatastoreEndpoint): string {
  switch (endpoint.kind) {
    case "sqlite":
      return `sqlite${endpoint.path ? `://${endpoint.path}` : ""}`;
    case "etcd":
      return endpoint.servers
        .map(({ host, port, tls }) => `${tls ? "https" : "http"}://${bracketed(host)}:${port}`)
        .join(",");
    default: {
      const { kind, address, user, database } = endpoint;
      const at = "socketPath" in address ? `unix(${address.socketPath})` : `${bracketed(address.host)}:${address.port}`;
      return `${kind}://${user}@${at}/${database}`;
    }
  }
}

function wrong(reason: string): ConfigurationError {
  return new ConfigurationError(`the datastore endpoint cannot be read: ${reason}; ${known}`);
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function etcdServer(text: string): { host: string; port: number; tls: boolean } {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol))
    throw wrong("one of etcd's addresses is no http or https URL");
  if (url.username || url.password) throw wrong("etcd's addresses take no user; give a certificate instead");
  if (url.pathname !== "/" || url.search) throw wrong("one of etcd's addresses has a path");
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port || 2379), tls: url.protocol === "https:" };
}

function postgresEndpoint(rest: string): SqlEndpoint {
  // K3s' short form: the database of this machine with the image's usual login.
  if (rest === "") {
    const address = { host: "localhost", port: 5432 };
    return { address, user: "postgres", password: "postgres", database: defaultDatabase, parameters: new Map() };
  }
  const url = URL.canParse(`postgres://${rest}`) ? new URL(`postgres://${rest}`) : undefined;
  if (!url)
    throw wrong(
      'what follows "postgres://" is no "user:password@host:port/database"; special characters in it have to be percent-encoded',
    );
  const parameters = new Map(url.searchParams);
  return {
    address: { host: url.hostname.replace(/^\[|\]$/g, "") || "localhost", port: Number(url.port || 5432) },
    user: decoded(url.username) || "postgres",
    password: decoded(url.password),
    database: decoded(url.pathname.slice(1)) || defaultDatabase,
    parameters,
  };
}

/** The form of Go's driver: `user:password@tcp(host:port)/database?parameter=value`. Nothing in it is encoded. */
function mysqlEndpoint(rest: string): SqlEndpoint {
  if (rest === "") {
    const address = { socketPath: "/var/run/mysqld/mysqld.sock" };
    return { address, user: "root", password: "", database: defaultDatabase, parameters: new Map() };
  }
  // The last "/" and, before it, the last "@" part it: a password may hold either.
  const query = rest.lastIndexOf("?") > rest.lastIndexOf("/") ? rest.slice(rest.lastIndexOf("?") + 1) : "";
  const path = query ? rest.slice(0, rest.lastIndexOf("?")) : rest.replace(/\?$/, "");
  const slash = socketEnd(path);
  const at = path.lastIndexOf("@", slash);
  const [, user = "", password = ""] = /^([^:]*):?(.*)$/s.exec(at < 0 ? "" : path.slice(0, at)) ?? [];
  const parameters = new Map(new URLSearchParams(query));
  return {
    address: mysqlAddress(path.slice(at + 1, slash)),
    user: user || "root",
    password,
    database: path.slice(slash + 1) || defaultDatabase,
    parameters,
  };
}

/** Where the address ends and "/database" begins; a socket's path in parentheses has slashes of its own. */
function socketEnd(path: string): number {
  const slash = path.indexOf("/", path.lastIndexOf(")") + 1);
  const last = path.lastIndexOf(")") < 0 ? path.lastIndexOf("/") : slash;
  return last < 0 ? path.length : last;
}

function mysqlAddress(text: string): SqlAddress {
  const [, network = "", address = ""] = /^([a-z0-9]*)(?:\((.*)\))?$/s.exec(text) ?? [undefined, text, ""];
  if (network === "unix") return { socketPath: address || "/var/run/mysqld/mysqld.sock" };
  if (network !== "tcp" && network !== "")
    throw wrong('the address of MySQL is written "tcp(host:3306)" or "unix(/path)"');
  const [, host = "", port = ""] = /^(?:\[(?=.*\]))?(.*?)\]?(?::(\d+))?$/s.exec(address) ?? [];
  return { host: host || "127.0.0.1", port: Number(port || 3306) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong("a percent sign that encodes nothing has to be written %25");
  }
}
