// What is unsafe in a configuration, and what to change. Services and the model state findings; the program, `hotpair
// check` and the policy pack are readers of the same ones.

export interface Finding {
  /** Name of the policy that carries it, e.g. `heartbeat-second-path`; one policy is one file in `infra/policy`. */
  readonly rule: string;
  /** `mandatory` stops the program before it registers a resource; `advisory` is printed. */
  readonly level: "mandatory" | "advisory";
  /** Configuration path, e.g. `hotpair:pair.vrrp.advertInterval`. Never a value of a secret. */
  readonly path: string;
  /** What is wrong, with the numbers. */
  readonly message: string;
  /** What to change, to which value. */
  readonly fix: string;
}
