"""What the nets learn from: digits that come with gpudoctor, drawn glyphs, and CIFAR-10 from a folder."""
