import { type Secret, secrets } from "../../api/generated/core-v1.ts";
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../machinery/clock.ts";
import { StatusError, unauthorized } from "../../machinery/status.ts";
import type { Authenticator } from "../request.ts";
import { bearerTokenOf, equalSecrets } from "./bearer-token.ts";

const tokenPattern = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const groupPattern = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

/**
 * Bootstrap tokens ("abcdef.0123456789abcdef"), kept as Secrets of type bootstrap.kubernetes.io/token in kube-system.
 * `clock` is the cluster clock, as tokens are objects with a life time of days.
 */
export function bootstrapTokenAuthenticator(options: {
  readonly client: () => Client;
  readonly clock: Clock;
}): Authenticator {
  return async ({ headers }) => {
    const match = tokenPattern.exec(bearerTokenOf(headers) ?? "");
    if (!match) return undefined;
    const [, id, secretPart] = match as unknown as [string, string, string];
    const secret = await readSecret(options.client(), id);
    const data = (key: string) => Buffer.from(secret?.data?.[key] ?? "", "base64").toString();
    const known =
      secret !== undefined &&
      secret.type === "bootstrap.kubernetes.io/token" &&
      !secret.metadata.deletionTimestamp &&
      data("token-id") === id &&
      equalSecrets(data("token-secret"), secretPart);
    if (!known) throw unauthorized();
    const expiration = data("expiration");
    if (expiration !== "" && !(Date.parse(expiration) > options.clock.now())) throw unauthorized();
    if (data("usage-bootstrap-authentication") !== "true") throw unauthorized();
    const groups = data("auth-extra-groups").split(",").filter(Boolean);
    if (!groups.every((group) => groupPattern.test(group))) throw unauthorized();
    return { name: `system:bootstrap:${id}`, groups: ["system:bootstrappers", ...new Set(groups)] };
  };
}

async function readSecret(client: Client, id: string): Promise<Secret | undefined> {
  try {
    return await client.get(secrets, `bootstrap-token-${id}`, { namespace: "kube-system" });
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) return undefined;
    throw error;
  }
}
