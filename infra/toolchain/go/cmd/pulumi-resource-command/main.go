// Command pulumi-resource-command is hotpair's own `command` provider: remote.Command over SSH, whole, for networks
// where the official plugin cannot be downloaded. Inputs, state, diffs and messages are those of the official plugin
// 1.2.1, so that either of the two can take a stack over from the other without a difference. CopyToRemote and
// local.Command are not here: hotpair uses neither.
//
// Where it behaves better than the official one, on purpose and without a trace in state or diffs:
//   - a logged line of any length does not hang it;
//   - perDialTimeout bounds the SSH handshake too, not only the TCP connection;
//   - a wrong host key fails at once instead of after every retry;
//   - an RSA host key works (rsa-sha2 instead of SHA-1 signatures);
//   - behind a jump host each retry dials anew, so that the real cause is reported and not the dead channel's EOF;
//   - what is secret in the inputs is masked in error texts and log lines;
//   - Cancel and a custom timeout also end a call whose command runs: with SIGTERM where sshd passes it on (not to a
//     command of root's), and always with the end of the connection;
//   - a server that dies while a command runs is noticed after 20 seconds.
package main

import (
	"os"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"

	"hotpair/toolchain/internal/serve"
)

func main() {
	p := newProvider(serve.EngineAddress(os.Args[1:]))
	serve.Plugin(func(s *grpc.Server) { pulumirpc.RegisterResourceProviderServer(s, p) }, func() {})
}
