import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { LoadReplies, LoadRequest } from "./load-messages.ts";

/** A process that loads servers. */
export interface LoadProcess extends Disposable {
  /** One thing at a time. Rejects when a request was refused or a connection broke. */
  run<K extends LoadRequest["do"]>(request: Extract<LoadRequest, { do: K }>): Promise<LoadReplies[K]>;
}

export function startLoadProcess(): LoadProcess {
  const child = fork(fileURLToPath(new URL("./load-worker.ts", import.meta.url)), { stdio: "inherit", execArgv: [] });
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  return {
    run: (request) =>
      new Promise((resolve, reject) => {
        const onExit = () => reject(new Error("the process that makes the load ended"));
        child.once("exit", onExit);
        child.once("message", ({ reply, error }: { reply?: never; error?: string }) => {
          child.off("exit", onExit);
          if (error === undefined) resolve(reply as never);
          else reject(new Error(error));
        });
        child.send(request);
      }),
    [Symbol.dispose]: () => {
      process.off("exit", killNow);
      child.kill("SIGKILL");
    },
  };
}
