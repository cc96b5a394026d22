import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { CertificateRequestFacts } from "../controllers/controller.ts";
import { ioClock, type Timer } from "../machinery/clock.ts";

/** One certificate to be made. */
export interface SignRequest {
  /** Names it within its batch. */
  readonly id: string;
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly extendedKeyUsages: readonly ("serverAuth" | "clientAuth")[];
  readonly ca?: boolean;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The subject's private key, PEM; or `csr`, a DER PKCS#10 of which only the public key is taken. */
  readonly key?: string;
  readonly csr?: Buffer;
  /** Takes subject, names and constraints from the request as they stand, with these usages (as Kubernetes names them). */
  readonly copy?: { readonly usages: readonly string[] };
  /** Absent: self-signed. `certificate` may be "batch:<id>" for one that is made earlier in the same batch. */
  readonly issuer?: { certificate: string; readonly key: string };
}

/** Where the worker stands: beside this file in the sources, as an entry of its own in the bundle. */
function workerUrl(): URL {
  const source = new URL("./signer-worker.ts", import.meta.url);
  return existsSync(source) ? source : new URL("./signer-worker.mjs", import.meta.url);
}

/** A request to say what a DER PKCS#10 asks for. */
export interface InspectRequest {
  readonly id: string;
  readonly inspect: Buffer;
}

export type SignOutcome =
  | { readonly pem: string }
  | { readonly facts: CertificateRequestFacts }
  | { readonly error: string };

/** How long an idle signer is kept: nodes that start together join within seconds. */
const idleMs = 5_000;

/** Makes certificates in a worker thread that is started at need and ended when nobody asks any more. */
class Signer {
  #worker: Worker | undefined;
  #idle: Timer | undefined;
  #batches = 0;
  readonly #waiting = new Map<number, { resolve: (outcomes: SignOutcome[]) => void; reject: (error: Error) => void }>();

  run(requests: readonly (SignRequest | InspectRequest)[]): Promise<SignOutcome[]> {
    this.#idle?.cancel();
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const batch = this.#batches++;
    return new Promise<SignOutcome[]>((resolve, reject) => {
      this.#waiting.set(batch, { resolve, reject });
      // Work in flight keeps the process alive; an idle worker does not.
      worker.ref();
      worker.postMessage({ batch, requests });
    });
  }

  #start(): Worker {
    const worker = new Worker(workerUrl(), { execArgv: [] });
    worker.on("message", ({ batch, outcomes }: { batch: number; outcomes: SignOutcome[] }) => {
      this.#waiting.get(batch)?.resolve(outcomes);
      this.#waiting.delete(batch);
      if (this.#waiting.size > 0) return;
      worker.unref();
      this.#idle = ioClock.after(idleMs, () => {
        // Whoever comes while it ends gets another one.
        this.#worker = undefined;
        void worker.terminate();
      });
    });
    const ended = (why: string) => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      for (const { reject } of this.#waiting.values()) reject(new Error(`the certificate signer ended: ${why}`));
      this.#waiting.clear();
    };
    worker.on("error", (error) => ended(String(error)));
    worker.on("exit", (code) => ended(`exit code ${code}`));
    return worker;
  }
}

const signer = new Signer();

/**
 * Makes certificates in a worker thread.
 * @returns PEM certificates, one for each request, in their order
 * @throws when any request cannot be signed; the message names the request
 */
export async function signCertificates(requests: readonly SignRequest[]): Promise<string[]> {
  const outcomes = await signer.run(requests);
  return outcomes.map((outcome, index) => {
    if ("error" in outcome) throw new Error(`cannot make certificate "${requests[index]!.id}": ${outcome.error}`);
    return "pem" in outcome ? outcome.pem : "";
  });
}

/**
 * Reads a certificate request in the worker.
 * @param request DER PKCS#10
 * @throws when it cannot be read, or is not signed by its own key
 */
export async function inspectRequest(request: Buffer): Promise<CertificateRequestFacts> {
  const [outcome] = await signer.run([{ id: "request", inspect: request }]);
  if (!outcome || !("facts" in outcome)) throw new Error(outcome && "error" in outcome ? outcome.error : "no answer");
  return outcome.facts;
}
