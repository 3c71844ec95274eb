# Gives orders to the program that emulates a virtual machine of a lab, over its QMP socket (qemu-qmp-ref(7)), one after the
# other, and prints the last answer.
#
# usage: perl qmp.pl SOCKET ORDER...    an order: {"execute":"set_link","arguments":{...}}
use strict;
use warnings;
use IO::Socket::UNIX;

my ($path, @orders) = @ARGV;
my $machine = IO::Socket::UNIX->new(Peer => $path) or die "$path: $!\n";
# One that does not run at all keeps nobody waiting for good.
alarm 20;
defined <$machine> or die "$path: no greeting\n";
my $answer;
for my $order ('{"execute":"qmp_capabilities"}', @orders) {
  print $machine "$order\n";
  # Events come in between.
  do { $answer = <$machine> // die "$path: closed\n" } until $answer =~ /^\{"(return|error)"/;
  die "$order: $answer" if $1 eq "error";
}
print $answer;
