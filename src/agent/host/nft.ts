import { CommandError, run } from "./command.ts";

/** Loads nftables text as one transaction: either all of it takes effect or nothing does. Throws `CommandError`. */
export async function applyNft(text: string, signal?: AbortSignal): Promise<void> {
  await run("nft", ["-f", "-"], { input: text, ...(signal ? { signal } : {}) });
}

/** The text of a table as the kernel holds it, or `undefined` when there is none. */
export async function listNftTable(family: "ip" | "ip6" | "inet", name: string): Promise<string | undefined> {
  try {
    return (await run("nft", ["list", "table", family, name])).stdout;
  } catch (error) {
    if (error instanceof CommandError && error.stderr.includes("No such file or directory")) return undefined;
    throw error;
  }
}
