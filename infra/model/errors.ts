// Errors that are meant for the person who must fix them. Whatever is thrown as UserError is printed without a stack
// trace and ends the command with exit code 2 (wrong input); every other error is a defect or a failure (exit code 1).

export class UserError extends Error {
  /** One entry per mistake, each complete: place, value, what was expected, what to do. */
  readonly details: readonly string[];

  constructor(message: string, details: readonly string[] = []) {
    super(message);
    this.name = "UserError";
    this.details = details;
  }
}

/** What was asked for was right and went wrong on a server: told in the same way, exit code 1. */
export class FailedError extends UserError {}
