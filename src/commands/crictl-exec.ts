/** Channels of the remote command protocol v4 over WebSocket: each message begins with the number of its channel. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

/** Joins this process' streams to a command that runs behind a streaming URL of the runtime. Gives its exit code. */
export async function runInContainer(url: string, options: { tty: boolean; stdin: boolean }): Promise<number> {
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(url.replace(/^http/, "ws"), "v4.channel.k8s.io");
  const send = (channel: number, data: Buffer) => socket.send(Buffer.concat([Buffer.from([channel]), data]));
  const { stdin, stdout } = process;
  return new Promise((resolve, reject) => {
    let exitCode = 0;
    const size = () =>
      send(channels.resize, Buffer.from(JSON.stringify({ Width: stdout.columns, Height: stdout.rows })));
    socket.on("open", () => {
      if (options.tty && stdin.isTTY) stdin.setRawMode(true);
      if (options.tty && stdout.isTTY) {
        size();
        stdout.on("resize", size);
      }
      if (options.stdin) stdin.on("data", (data: Buffer) => send(channels.stdin, data));
    });
    socket.on("message", (message: Buffer) => {
      const data = message.subarray(1);
      if (message[0] === channels.stdout) stdout.write(data);
      else if (message[0] === channels.stderr) process.stderr.write(data);
      else if (message[0] === channels.error && data.length > 0) {
        const status = JSON.parse(data.toString());
        const cause = status.details?.causes?.find(({ reason }: { reason?: string }) => reason === "ExitCode");
        if (status.status !== "Success") exitCode = cause ? Number(cause.message) : 1;
        if (status.status !== "Success" && !cause) process.stderr.write(`${status.message}\n`);
      }
    });
    socket.on("close", () => {
      if (options.tty && stdin.isTTY) stdin.setRawMode(false);
      stdin.pause();
      stdout.off("resize", size);
      resolve(exitCode);
    });
    socket.on("error", reject);
  });
}
