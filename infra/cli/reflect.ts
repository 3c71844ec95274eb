// What tsyringe, through which @peculiar/x509 finds its algorithms, wants of the Reflect metadata proposal before it loads:
// that the functions are there. No class of @peculiar/x509 takes injected parameters, so there is nothing to remember.

const none = (): undefined => undefined;
for (const name of ["getMetadata", "getOwnMetadata", "defineMetadata"])
  if (!(name in Reflect)) Object.defineProperty(Reflect, name, { value: none });
