/** Something that goes wrong and is mended again. */
export interface Fault {
  /** In words that are the same for each server: "a server is killed and started". */
  readonly kind: string;
  /** What it happens to, such as "server 1": two faults at once are of different things. */
  readonly of: string;
  /** Whether servers that are started again need this to be mended before. */
  readonly healFirst: boolean;
  inject(): Promise<void>;
  heal(): Promise<void>;
}
