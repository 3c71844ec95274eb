// Package serve is the process side of a Pulumi plugin: a gRPC server on loopback, its port on standard output, and an
// end as soon as the engine is gone. What the plugin does belongs to the commands under cmd/.
package serve

import (
	"fmt"
	"math"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// EngineAddress is the one positional argument the engine gives its plugins (host:port), or "" without one. The logging
// flags that come before it are of no use here and are skipped.
func EngineAddress(args []string) string {
	for i := len(args) - 1; i >= 0; i-- {
		if !strings.HasPrefix(args[i], "-") {
			return args[i]
		}
	}
	return ""
}

// Plugin serves until the engine interrupts the process or dies; stop then runs once. The first and only line on
// standard output is the port, as the engine expects. It does not return.
func Plugin(register func(*grpc.Server), stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-end
		stop()
		os.Exit(0)
	}()
	go endWithParent(os.Getppid(), end)

	// A bundle on standard input travels three times in one Update (old state, new and old inputs), so gRPC's usual
	// limit of 4 MiB is far too low.
	server := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32))
	register(server)
	fmt.Printf("%d\n", listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// endWithParent ends the plugin when a killed engine leaves it to another parent: nobody would ever stop it otherwise.
func endWithParent(parent int, end chan<- os.Signal) {
	for range time.Tick(500 * time.Millisecond) {
		if os.Getppid() != parent {
			end <- os.Interrupt
			return
		}
	}
}
