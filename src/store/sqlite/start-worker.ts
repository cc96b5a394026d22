import { Worker } from "node:worker_threads";
import { UnavailableError } from "../store.ts";

/** Starts the thread that has the database. @param name how debuggers call it */
export function startWorker(name: string, workerData: Record<string, unknown>): Worker {
  // In the bundle the worker is an entry file of its own, beside the main one.
  const file = import.meta.url.endsWith(".ts") ? "./worker.ts" : "./sqlite-worker.mjs";
  return new Worker(new URL(file, import.meta.url), {
    name,
    workerData,
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  });
}

/** Checks a copy in a thread of its own, since that takes as long as the file is large. @returns its revision */
export function checkInWorker(path: string, nativeBinding: string | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const worker = startWorker("sqlite-check", { path, nativeBinding, check: true });
    worker.once("message", resolve);
    worker.once("error", (error) =>
      reject(new UnavailableError(`the copy of the SQLite store failed: ${error.message}`)),
    );
    worker.once("exit", () => reject(new UnavailableError("the copy of the SQLite store was not checked to its end")));
  });
}
