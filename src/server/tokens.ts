import { randomBytes } from "node:crypto";
import { existsSync, lstatSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { caHash, parseToken } from "../agent/bootstrap/token.ts";
import { writeFileAtomic } from "../agent/host/files.ts";
import { equalSecrets } from "../apiserver/authentication/bearer-token.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";

/**
 * The cluster's tokens, in K3s' files: `<data>/server/token`, `node-token` and `agent-token`, and the passwords that
 * they stand for in `cred/passwd` (k3s documentation, "token").
 */
export interface Tokens {
  /** K10<hash of the CA>::server:<password>. */
  readonly server: string;
  /** K10<hash of the CA>::node:<password>. */
  readonly agent: string;
  /** User and groups of a basic-auth pair; undefined when it is none of ours. */
  authenticate(user: string, password: string): { name: string; groups: string[] } | undefined;
}

/** The password that a server was given, or was started with before; undefined where a new one has to be made. */
export function knownPassword(serverDirectory: string, given?: string): string | undefined {
  if (given !== undefined) return parseToken(given).password;
  const file = join(serverDirectory, "token");
  return existsSync(file) ? parseToken(readFileSync(file, "utf8").trim()).password : undefined;
}

/** A password for a cluster that has none yet. */
export function newPassword(): string {
  return randomBytes(16).toString("hex");
}

/**
 * Loads or makes the tokens. A password given on the command line wins over none, and must equal the stored one.
 * @param given what `--token` holds: a bare password, or a full token
 * @throws when a given token differs from the one that this data directory was made with
 */
export function prepareTokens(serverDirectory: string, caBundle: string, given?: string, givenAgent?: string): Tokens {
  const hash = caHash(caBundle);
  const file = join(serverDirectory, "token");
  const stored = knownPassword(serverDirectory);
  const wanted = given === undefined ? undefined : parseToken(given).password;
  if (stored !== undefined && wanted !== undefined && !equalSecrets(stored, wanted)) {
    throw new ConfigurationError(
      `the token given with --token is not the one that the cluster in ${serverDirectory} was made with; ` +
        "leave it out, or use the one in its file `token`",
    );
  }
  const password = stored ?? wanted ?? newPassword();
  const agentFile = join(serverDirectory, "agent-token");
  const agentPassword = givenAgent === undefined ? password : parseToken(givenAgent).password;

  const server = `K10${hash}::server:${password}`;
  const agent = `K10${hash}::node:${agentPassword}`;
  writeFileAtomic(file, `${server}\n`, 0o600);
  linkTo("token", join(serverDirectory, "node-token"));
  if (givenAgent === undefined) linkTo("token", agentFile);
  else {
    rmSync(agentFile, { force: true });
    writeFileAtomic(agentFile, `${agent}\n`, 0o600);
  }
  writeFileAtomic(
    join(serverDirectory, "cred", "passwd"),
    `${password},server,server,k3s:server\n${agentPassword},node,node,k3s:agent\n`,
    0o600,
  );
  return {
    server,
    agent,
    authenticate(user, given) {
      if (user === "server" && equalSecrets(given, password)) return { name: "server", groups: ["k3s:server"] };
      if (user === "node" && equalSecrets(given, agentPassword)) return { name: "node", groups: ["k3s:agent"] };
      return undefined;
    },
  };
}

function linkTo(target: string, path: string): void {
  if (existsSync(path) && lstatSync(path).isSymbolicLink()) return;
  rmSync(path, { force: true });
  symlinkSync(target, path);
}
