import { request } from "node:http";
import type { Duplex } from "node:stream";
import { SpdySession } from "../machinery/spdy.ts";

function upgrade(url: URL): Promise<{ socket: Duplex; head: Buffer }> {
  return new Promise((resolve, reject) => {
    const call = request(url, {
      method: "POST",
      headers: { connection: "Upgrade", upgrade: "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io" },
    });
    call.on("upgrade", (_, socket, head) => resolve({ socket, head }));
    call.on("response", (response) =>
      reject(new Error(`the runtime refused the stream with HTTP status ${response.statusCode}`)),
    );
    call.on("error", reject);
    call.end();
  });
}

async function textOf(stream: Duplex): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Joins this process' streams to a command that runs behind a streaming URL of the runtime. Gives its exit code. */
export async function runInContainer(url: string, options: { tty: boolean; stdin: boolean }): Promise<number> {
  const { stdin, stdout, stderr } = process;
  const { socket, head } = await upgrade(new URL(url));
  const session = new SpdySession(socket, { role: "client", head });
  const open = (streamtype: string) => {
    const stream = session.open({ streamtype });
    stream.on("error", () => {});
    return stream;
  };
  // The runtime waits until it has seen every stream that it was told of.
  const error = open("error");
  const input = options.stdin ? open("stdin") : undefined;
  const output = open("stdout");
  const errors = options.tty ? undefined : open("stderr");
  const resize = options.tty ? open("resize") : undefined;
  error.end();
  const size = () => resize?.write(JSON.stringify({ Width: stdout.columns, Height: stdout.rows }));
  try {
    await Promise.all([error, input, output, errors, resize].map((stream) => stream?.replied));
    if (options.tty && stdin.isTTY) stdin.setRawMode(true);
    if (options.tty && stdout.isTTY) {
      size();
      stdout.on("resize", size);
    }
    output.pipe(stdout, { end: false });
    errors?.pipe(stderr, { end: false });
    if (input) stdin.pipe(input);
    const text = await textOf(error);
    if (text === "") throw new Error("the container's end of the stream went away without a status");
    const status = JSON.parse(text);
    if (status.status === "Success") return 0;
    const exit = status.details?.causes?.find(({ reason }: { reason?: string }) => reason === "ExitCode");
    if (!exit) stderr.write(`${status.message}\n`);
    return exit ? Number(exit.message) : 1;
  } finally {
    stdout.off("resize", size);
    if (options.tty && stdin.isTTY) stdin.setRawMode(false);
    if (input) stdin.unpipe(input);
    stdin.pause();
    session.destroy();
  }
}
