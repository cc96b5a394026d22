import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Socket } from "node:net";

/**
 * Which of some processes of this machine is at the other end of a connection over IPv4's loopback network; undefined when
 * none of them is, or not any more.
 */
export function ownerOf(accepted: Socket, pids: readonly number[]): number | undefined {
  const inode = inodeOf(accepted);
  if (inode === undefined) return undefined;
  return pids.find((pid) => socketsOf(pid).includes(`socket:[${inode}]`));
}

/** The kernel's table has a row for each end: the other end's has our addresses in the other order. */
function inodeOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string | undefined {
  if (!remoteAddress || !remotePort || !localAddress || !localPort) return undefined;
  const [from, to] = [hex(remoteAddress, remotePort), hex(localAddress, localPort)];
  for (const line of readFileSync("/proc/net/tcp", "latin1").split("\n")) {
    const columns = line.trim().split(/\s+/);
    if (columns[1] === from && columns[2] === to) return columns[9];
  }
  return undefined;
}

/** An address as the table has it: the four bytes as one number of this machine, in hexadecimal digits, and the port. */
function hex(address: string, port: number): string {
  const number = new DataView(Uint8Array.from(address.split("."), Number).buffer).getUint32(0, littleEndian);
  const digits = (value: number, length: number) => value.toString(16).toUpperCase().padStart(length, "0");
  return `${digits(number, 8)}:${digits(port, 4)}`;
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function socketsOf(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).flatMap((descriptor) => {
      try {
        return [readlinkSync(`${directory}/${descriptor}`)];
      } catch {
        // It was closed meanwhile.
        return [];
      }
    });
  } catch {
    // The process has ended.
    return [];
  }
}
