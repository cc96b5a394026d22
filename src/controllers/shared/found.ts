import { StatusError } from "../../machinery/status.ts";

/** What a get finds; undefined when there is no such object. Other errors are thrown. */
export async function found<T>(getting: Promise<T>): Promise<T | undefined> {
  try {
    return await getting;
  } catch (error) {
    if (error instanceof StatusError && error.code === 404) return undefined;
    throw error;
  }
}
