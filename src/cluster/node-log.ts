import { PassThrough } from "node:stream";
import type Docker from "dockerode";
import { parseJson } from "../machinery/json.ts";

/**
 * Follows a container's log from its present start until a line contains `text`.
 * @throws when the container ends first, with the last lines that it wrote; or with the signal's reason
 */
export async function waitForLine(docker: Docker, container: string, text: string, signal: AbortSignal): Promise<void> {
  const handle = docker.getContainer(container);
  const { State } = await handle.inspect();
  const since = Math.floor(Date.parse(State.StartedAt) / 1000);
  const stream = (await handle.logs({
    follow: true,
    stdout: true,
    stderr: true,
    since,
  })) as unknown as NodeJS.ReadableStream & {
    destroy(): void;
  };
  const merged = new PassThrough();
  docker.modem.demuxStream(stream, merged, merged);
  const last: string[] = [];
  await new Promise<void>((resolve, reject) => {
    let rest = "";
    const finish = (end: () => void) => {
      signal.removeEventListener("abort", onAbort);
      stream.destroy();
      end();
    };
    const onAbort = () => finish(() => reject(signal.reason));
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    merged.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString("utf8")).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.includes(text)) return finish(resolve);
        last.push(line);
        if (last.length > 5) last.shift();
      }
    });
    stream.on("end", () =>
      finish(() => reject(new Error(`node ${container} ended before it was up: ${fatalMessage(last)}`))),
    );
    stream.on("error", (error) => finish(() => reject(error)));
  });
}

/**
 * Settles only by rejecting: when the container ends, with what it said last. The wait is given up with the signal.
 */
export async function failsWhenEnded(docker: Docker, container: string, signal: AbortSignal): Promise<never> {
  const handle = docker.getContainer(container);
  const never = new Promise<never>(() => {});
  try {
    await handle.wait({ condition: "next-exit", abortSignal: signal });
  } catch (error) {
    if (signal.aborted) return never;
    throw error;
  }
  const text = (await handle.logs({ stdout: true, stderr: true, tail: 20 })).toString("utf8");
  throw new Error(`node ${container} ended before it was up: ${fatalMessage(text.trim().split("\n"))}`);
}

/** What a start failed with: the message of the fatal line, or the last lines. */
function fatalMessage(lines: readonly string[]): string {
  const fatal = lines.findLast((line) => line.includes("level=fatal"));
  const message = fatal && /msg=("(?:[^"\\]|\\.)*")/.exec(fatal)?.[1];
  return message ? (parseJson(message) as string) : lines.join(" | ") || "it wrote nothing";
}
