// What a server says of hotpair's files on it, when it is asked over SSH: facts to compare a plan with. Field names of the
// manifest and the drift are the wire format of `hotpair-apply manifest --json` and `drift --json`.

export type Role = "active" | "standby" | "silent";

export interface FileFacts {
  readonly sha256: string;
  /** Four octal digits. */
  readonly mode: string;
  readonly owner: string;
  readonly group: string;
}

export interface Manifest {
  /** Owner token; null when nothing of hotpair is installed. */
  readonly resource: string | null;
  readonly digest: string | null;
  /** Unix milliseconds. */
  readonly appliedAt: number | null;
  readonly files: readonly (FileFacts & { readonly path: string; readonly secret: boolean })[];
  readonly installedPackages: readonly string[];
}

export interface DriftedFile {
  readonly path: string;
  readonly differences: readonly ("missing" | "type" | "content" | "mode" | "owner")[];
  readonly secret: boolean;
  readonly expected: FileFacts;
  /** Null fields where the file is missing or no regular one. */
  readonly found: { readonly [K in keyof FileFacts]: string | null };
}

export interface DriftedUnit {
  readonly name: string;
  readonly expected: string;
  readonly found: string;
}

export interface Drift {
  /** An interrupted apply waits to be undone. */
  readonly unfinished: boolean;
  readonly files: readonly DriftedFile[];
  readonly units: readonly DriftedUnit[];
}

export interface ServerState {
  readonly role: Role;
  readonly manifest: Manifest;
  readonly drift: Drift;
  /** The asked paths that are there as regular files, whoever wrote them. */
  readonly present: ReadonlyMap<string, FileFacts>;
  /** The asked packages that are not installed. */
  readonly missingPackages: readonly string[];
}
